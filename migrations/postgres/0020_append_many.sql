-- Small batches of several topics in one transaction, and no statistics of what no plan depends on.

-- The columns of a segment are arrays of thousands of elements. Whoever analyzes the table would fetch, decompress and
-- count them for seconds, again and again while it grows.
alter table eventflow.segments
    alter column recorded_times set statistics 0,
    alter column ids set statistics 0,
    alter column types set statistics 0,
    alter column keys set statistics 0,
    alter column times set statistics 0,
    alter column producers set statistics 0,
    alter column metas set statistics 0,
    alter column payloads set statistics 0;

-- As append_v2 for several topics, each once, with events without ids and without an expected head. The events of all
-- batches follow each other in the columns; `p_ends` says where each batch ends, from 1. Topics are locked in the order
-- of their numbers, so that two such calls never wait for each other in a ring. Whatever is not a plain append changes
-- nothing, has no row in the answer, and is left to append_v2. `place` counts the batches from 1.
create function eventflow.append_many_v1(
    p_topics int[], p_batches uuid[], p_seens bigint[], p_bytes int[], p_ends int[],
    p_ids text[], p_types text[], p_keys text[], p_times timestamptz[], p_producers text[],
    p_metas jsonb[], p_payloads bytea[]
) returns table (place bigint, first_offset bigint, recorded_time timestamptz) language plpgsql volatile
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
    set enable_mergejoin = off set jit = off
as $$
begin
    perform from (select u.topic from unnest(p_topics) u(topic) order by u.topic) wanted
        cross join lateral (
            select t.id from eventflow.topics t where t.id = wanted.topic limit 1 for no key update) t;

    -- This statement begins after the locks, so it sees every batch before these.
    return query
    with looked as materialized (
        select w.place, w.topic, w.batch, w.bytes, w.last_place,
            coalesce(lag(w.last_place) over (order by w.place), 0) + 1 as first_place,
            greatest(n.last_offset, t.trimmed_to) as head,
            greatest(n.recorded_time, t.trimmed_time, clock_timestamp()) as now,
            t.deleted_time is null and not t.sealed and not exists (
                select from eventflow.segments s
                where s.topic_id = w.topic and s.last_offset > w.seen and (s.batch = w.batch or s.batch is null)
            ) as plain
        from unnest(p_topics, p_batches, p_seens, p_bytes, p_ends)
            with ordinality w(topic, batch, seen, bytes, last_place, place)
        cross join lateral (
            select t.sealed, t.deleted_time, t.trimmed_to, t.trimmed_time from eventflow.topics t
            where t.id = w.topic limit 1
        ) t
        left join lateral (
            select s.last_offset, s.recorded_time from eventflow.segments s
            where s.topic_id = w.topic order by s.last_offset desc limit 1
        ) n on true
    ), appended as (
        insert into eventflow.segments (topic_id, bytes, first_offset, last_offset, batch, recorded_time,
                ids, types, keys, times, producers, metas, payloads)
            select l.topic, l.bytes, l.head + 1, l.head + 1 + l.last_place - l.first_place, l.batch, l.now,
                p_ids[l.first_place:l.last_place], p_types[l.first_place:l.last_place],
                p_keys[l.first_place:l.last_place], p_times[l.first_place:l.last_place],
                p_producers[l.first_place:l.last_place], p_metas[l.first_place:l.last_place],
                p_payloads[l.first_place:l.last_place]
            from looked l where l.plain
            returning topic_id
    )
    select l.place, l.head + 1, l.now from looked l where l.plain;
end $$;

update eventflow.schema set version = 20;
