-- Links: a SHA-256 over a range of events and the link before, by which it can be told later whether they still
-- are what they were. They are inserted, never changed; trimming removes those of its events, but for the last
-- one, to which the next is chained. Events that share a link are trimmed together.
create table links (
    topic_id     integer not null,
    first_offset integer not null,
    last_offset  integer not null,
    log_id       blob    not null,  -- of the topic when the link was made; part of the hash
    version      integer not null,  -- of the encoding under the hash
    hash         blob    not null check (length(hash) = 32),
    made         integer not null,
    primary key (topic_id, last_offset),
    check (0 < first_offset and first_offset <= last_offset)
) strict, without rowid;

create trigger links_never_change before update on links
begin
    select raise(abort, 'links never change');
end;

create trigger links_go_by_trimming before delete on links
when exists (select 1 from topics t where t.id = old.topic_id and not exists (
    select 1 from links n
    where n.topic_id = old.topic_id and n.last_offset > old.last_offset and n.last_offset <= t.trimmed_to))
begin
    select raise(abort, 'links go only when what follows them is trimmed too');
end;

-- Older programs would trim in the middle of links.
update schema set version = 3, oldest_server = 3;
