-- Appending a batch: one call, one row, one autocommit statement.

-- Which of these ids a topic has, with what their events were. The limit keeps the planner from turning
-- the join round: on a table that it takes for empty it would walk through all ids of the topic.
-- Ids beyond the last one in the index are new: those ordered by time are seldom looked up.
create function eventflow.known_ids_v1(p_topic int, p_id_keys uuid[])
    returns table (id_key uuid, "offset" bigint, content_hash uuid, recorded_time timestamptz)
    language sql stable
as $$
    select e.id_key, e."offset", e.content_hash, s.recorded_time
    from unnest(p_id_keys) wanted(id_key)
    cross join lateral (
        select e.id_key, e."offset", e.content_hash
        from eventflow.event_ids e
        where e.topic_id = p_topic and e.id_key = wanted.id_key limit 1
    ) e
    left join lateral (
        select coalesce(s.recorded_times[e."offset" - s.first_offset + 1], s.recorded_time) as recorded_time
        from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset >= e."offset"
        order by s.last_offset limit 1
    ) s on true
    where wanted.id_key <= (
        select n.id_key from eventflow.event_ids n
        where n.topic_id = p_topic order by n.id_key desc limit 1)
$$;

-- The row lock on the topic makes the order of offsets the order of commits and of visibility. Each
-- statement here begins after the lock, so it sees every batch before this one.
-- The settings keep plans on the primary keys, whatever the planner believes of a new table; with a
-- plan forced so, its cost is absurd, and jit would be taken for worth it.
create function eventflow.append_v1(
    p_topic int, p_batch uuid, p_seen bigint, p_expected_head bigint, p_bytes int,
    p_ids text[], p_types text[], p_keys text[], p_times timestamptz[], p_producers text[],
    p_metas jsonb[], p_payloads bytea[],
    p_id_keys uuid[], p_id_hashes uuid[], p_id_places int[] /* of the event in the batch, from 1 */,
    out outcome text, out first_offset bigint, out recorded_time timestamptz, out head bigint,
    out known_keys uuid[], out known_offsets bigint[], out known_hashes uuid[], out known_times timestamptz[]
) language plpgsql volatile
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_sort = off set jit = off
as $$
declare
    topic_sealed boolean;
    trimmed_to bigint;
    trimmed_time timestamptz;
    newest_time timestamptz;
begin
    select t.sealed, t.trimmed_to, t.trimmed_time into topic_sealed, trimmed_to, trimmed_time
        from eventflow.topics t where t.id = p_topic and t.deleted_time is null for no key update;
    if not found then
        outcome := 'topic_not_found';
        return;
    end if;

    select s.first_offset, s.recorded_time into first_offset, recorded_time
        from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset > p_seen and s.batch = p_batch limit 1;
    if found then
        outcome := 'stored';
        return;
    end if;

    if cardinality(p_id_keys) > 0 then
        select array_agg(k.id_key), array_agg(k."offset"), array_agg(k.content_hash), array_agg(k.recorded_time)
            into known_keys, known_offsets, known_hashes, known_times
            from eventflow.known_ids_v1(p_topic, p_id_keys) k;
        if known_keys is not null then
            outcome := 'known';
            return;
        end if;
    end if;

    if topic_sealed then
        outcome := 'sealed';
        return;
    end if;

    select s.last_offset, s.recorded_time into head, newest_time
        from eventflow.segments s where s.topic_id = p_topic order by s.last_offset desc limit 1;
    head := greatest(head, trimmed_to);
    if p_expected_head <> head then
        outcome := 'head_moved';
        return;
    end if;

    outcome := 'stored';
    first_offset := head + 1;
    recorded_time := greatest(newest_time, trimmed_time, clock_timestamp());
    insert into eventflow.segments (topic_id, bytes, first_offset, last_offset, batch, recorded_time,
            ids, types, keys, times, producers, metas, payloads)
        values (p_topic, p_bytes, head + 1, head + cardinality(p_ids), p_batch, recorded_time,
            p_ids, p_types, p_keys, p_times, p_producers, p_metas, p_payloads);
    if cardinality(p_id_keys) > 0 then
        insert into eventflow.event_ids (topic_id, id_key, "offset", content_hash)
            select p_topic, k.id_key, head + k.place, k.content_hash
            from unnest(p_id_keys, p_id_hashes, p_id_places) k(id_key, content_hash, place);
    end if;
end $$;

update eventflow.schema set version = 4;
