-- How much disk the stored events take, beside the same events as plain rows with the same columns and indexes.
--
-- usage: psql -f benches/disk.sql DATABASE, as the owner of the database. It copies all events once, into a schema
-- eventflow_disk that is dropped at its end. To fill a database that is otherwise empty:
--   eventflow bench replay publish_dedup --runs 1 --warm-up 0 --events 1000000 --keep
\set ON_ERROR_STOP on
\pset footer off
create schema eventflow_disk;
set search_path = eventflow_disk;
create table rows (
    topic_id int not null,
    "offset" bigint not null,
    recorded_time timestamptz not null,
    id text not null,
    type text not null,
    key text not null,
    "time" timestamptz,
    producer text not null,
    meta jsonb,
    payload bytea not null
);
insert into rows
    select s.topic_id, s.first_offset + e.place - 1, coalesce(e.recorded_time, s.recorded_time),
        e.id, e.type, e.key, e."time", e.producer, e.meta, e.payload
    from eventflow.segments s
    cross join lateral unnest(s.ids, s.types, s.keys, s.times, s.recorded_times, s.producers, s.metas, s.payloads)
        with ordinality e(id, type, key, "time", recorded_time, producer, meta, payload, place);
alter table rows add primary key (topic_id, "offset");
vacuum analyze rows;
vacuum analyze eventflow.segments;
vacuum analyze eventflow.event_ids;

select count(*) as events, (select count(*) from eventflow.segments) as segments,
    pg_total_relation_size('eventflow.segments') / count(*) as segment_bytes_each,
    pg_total_relation_size('rows') / count(*) as row_bytes_each,
    round(100.0 * pg_total_relation_size('eventflow.segments') / pg_total_relation_size('rows'), 1) as percent
from rows;
-- The index of the producers' ids, of which plain rows would need one as well.
select count(*) as ids, pg_total_relation_size('eventflow.event_ids') / greatest(count(*), 1) as bytes_each
from eventflow.event_ids;
drop schema eventflow_disk cascade;
