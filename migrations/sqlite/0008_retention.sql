-- After every 1,024 events of a topic whose size is limited: how many bytes were counted so far. Each event is
-- counted once, and the limit's place is found without looking at all that is kept.
create table size_marks (
    topic_id    integer not null,
    last_offset integer not null,
    total_bytes integer not null,  -- of the events up to it, since counting began
    primary key (topic_id, last_offset)
) strict, without rowid;
create index size_marks_by_total on size_marks (topic_id, total_bytes);
