-- Topics and their logs: one row for each event.

create table topics (
    id              integer primary key autoincrement,  -- never used again
    name            text    not null unique,
    log_id          blob    not null,
    description     text    not null,
    retention       integer,                            -- microseconds; null: for ever
    retention_bytes integer not null,                   -- 0: all
    sealed          integer not null,
    create_time     integer not null,
    trimmed_to      integer not null default 0,         -- the last offset that was removed
    trimmed_time    integer                             -- when that event was recorded
) strict;

-- Few columns: crossing the driver costs more for each value than storing it does.
create table events (
    topic_id      integer not null,
    "offset"      integer not null,
    recorded_time integer not null,
    id_key        blob,              -- in event_ids; null: the producer gave no id
    meta          text    not null,  -- JSON: everything else; absent: empty, or the default
    payload       any     not null,  -- text, or a blob
    primary key (topic_id, "offset")
) strict, without rowid;

create table event_ids (
    topic_id     integer not null,
    id_key       blob    not null,
    "offset"     integer not null,
    content_hash blob    not null,
    primary key (topic_id, id_key)
) strict, without rowid;

create table batches (
    topic_id     integer not null,
    last_offset  integer not null,
    first_offset integer not null,
    batch        blob    not null,
    primary key (topic_id, last_offset)
) strict, without rowid;

-- Events are recorded once and never change; only what was trimmed goes.
create trigger events_never_change before update on events
begin
    select raise(abort, 'events never change');
end;

create trigger events_go_by_trimming before delete on events
when old."offset" > (select trimmed_to from topics where id = old.topic_id)
begin
    select raise(abort, 'events go only when their topic is trimmed');
end;

create view topics_with_heads as
select t.id, t.name, t.log_id, t.description, t.retention, t.retention_bytes, t.sealed, t.create_time,
       t.trimmed_to, t.trimmed_time,
       coalesce((select max(e."offset") from events e where e.topic_id = t.id), t.trimmed_to) as head
from topics t;

-- Events for people who look into the database.
create view readable_events as
select t.name as topic,
       e."offset",
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_time / 1e6, 'unixepoch') as recorded_time,
       e.meta ->> 'type' as type,
       coalesce(e.meta ->> 'key', '') as key,
       coalesce(e.meta ->> 'id', '') as id,
       coalesce(e.meta ->> 'source', '/' || (e.meta ->> 'producer')) as source,
       coalesce(e.meta ->> 'producer', '') as producer,
       coalesce(e.meta -> 'attributes', '{}') as attributes,
       coalesce(e.meta ->> 'correlation_id', '') as correlation_id,
       e.payload
from events e
join topics t on t.id = e.topic_id;
