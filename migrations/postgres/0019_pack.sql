-- Packing: small neighbouring segments become one, of the same events at the same offsets. Each range that was
-- packed, or was full before, gets a link: a SHA-256 over its events and the link before, by which it can be
-- told later whether they still are what they were.

-- Links are inserted, never changed. Trimming removes those of its events, but for the last one, to which the
-- next is chained.
create table eventflow.links (
    topic_id int not null,
    first_offset bigint not null,
    last_offset bigint not null,                -- of a segment
    log_id uuid not null,                       -- of the topic when the link was made; part of the hash
    version smallint not null,                  -- of the encoding under the hash, which the servers know
    hash bytea not null,
    made timestamptz not null default clock_timestamp(),
    primary key (topic_id, last_offset),
    check (0 < first_offset and first_offset <= last_offset and length(hash) = 32)
);

create function eventflow.refuse_delete_of_kept_links() returns trigger language plpgsql as $$
begin
    if exists (
        select from gone g join eventflow.topics t on t.id = g.topic_id
        where t.deleted_time is null and not exists (
            select from eventflow.links n
            where n.topic_id = g.topic_id and n.last_offset > g.last_offset and n.last_offset <= t.trimmed_to)
    ) then
        raise exception 'links are kept: only those before the last one up to the topic''s trimmed_to can be deleted'
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

create trigger links_never_change before update or truncate on eventflow.links
    for each statement execute function eventflow.refuse_change();
create trigger links_deleted_by_trimming_only after delete on eventflow.links
    referencing old table as gone
    for each statement execute function eventflow.refuse_delete_of_kept_links();

-- Of what is kept, this lets go only what the same statement packed: several rows of one topic, in whose place
-- there is now a single row with all of their events, equal in every column. It looks at the events only if
-- everything else is so, which bounds them.
create or replace function eventflow.refuse_delete_of_kept_segments() returns trigger language plpgsql as $$
declare
    old record;
    packed eventflow.segments;
    same boolean := false;
begin
    if not exists (
        select from gone g left join eventflow.topics t on t.id = g.topic_id
        where g.last_offset > coalesce(t.trimmed_to, 0)
    ) then
        return null;
    end if;
    select count(*) as segments, count(distinct g.topic_id) as topics, min(g.topic_id) as topic_id,
            min(g.first_offset) as first_offset, max(g.last_offset) as last_offset,
            max(g.recorded_time) as recorded_time, sum(g.bytes) as bytes,
            sum(g.last_offset - g.first_offset + 1) as events
        into old from gone g;
    select s.* into packed from eventflow.segments s
        where s.topic_id = old.topic_id and s.last_offset = old.last_offset;
    if found and old.topics = 1 and old.segments > 1 and old.events <= 4096 and old.bytes <= 1048576
        and old.events = old.last_offset - old.first_offset + 1
        and (packed.first_offset, packed.bytes, packed.recorded_time)
            = (old.first_offset, old.bytes, old.recorded_time)
        and packed.batch is null
        and not exists (
            select from eventflow.segments s where s.topic_id = old.topic_id
                and s.last_offset >= old.first_offset and s.last_offset < old.last_offset)
    then
        select array_agg(e."offset" order by e."offset")
                    = array(select generate_series(old.first_offset, old.last_offset))
                and array_agg(e.id order by e."offset") = packed.ids
                and array_agg(e.type order by e."offset") = packed.types
                and array_agg(e.key order by e."offset") = packed.keys
                and array_agg(e.producer order by e."offset") = packed.producers
                and array_agg(e.payload order by e."offset") = packed.payloads
                and array_agg(e.recorded_time order by e."offset") = coalesce(packed.recorded_times,
                    array_fill(packed.recorded_time, array[old.events::int]))
                and array_agg(e.time order by e."offset") = coalesce(packed.times,
                    array_fill(null::timestamptz, array[old.events::int]))
                and array_agg(e.meta order by e."offset") = coalesce(packed.metas,
                    array_fill(null::jsonb, array[old.events::int]))
            into same
            from (
                select g.first_offset + e.place - 1 as "offset", e.id, e.type, e.key, e.producer, e.payload,
                    coalesce(e.recorded_time, g.recorded_time) as recorded_time, e.time, e.meta
                from gone g
                cross join lateral unnest(g.ids, g.types, g.keys, g.times, g.recorded_times, g.producers, g.metas,
                    g.payloads) with ordinality e(id, type, key, time, recorded_time, producer, meta, payload, place)
            ) e;
    end if;
    if same is not true then
        raise exception 'events are immutable: only those up to the topic''s trimmed_to can be deleted'
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

-- Topics whose oldest segment without a link was recorded longer ago than `p_age_us`; two looks at an index for
-- each topic.
create function eventflow.unpacked_topics_v1(p_after int, p_age_us bigint, p_limit bigint)
    returns setof int language sql stable
as $$
    select t.id
    from eventflow.topics t
    cross join lateral (
        select s.recorded_time from eventflow.segments s
        where s.topic_id = t.id and s.last_offset > greatest(t.trimmed_to, (
            select l.last_offset from eventflow.links l
            where l.topic_id = t.id order by l.last_offset desc limit 1))
        order by s.last_offset limit 1
    ) oldest
    where t.id > p_after and t.deleted_time is null
        and oldest.recorded_time < eventflow.after_us_v1(clock_timestamp(), - p_age_us)
    order by t.id limit p_limit
$$;

-- The next segments after `p_after` that make one: all older than `p_age_us`, together at most 4,096 events,
-- 1 MiB and `p_span_us` from the first to the last. One that has a quarter of that comes alone, since merging it
-- would cost more than it saves. No row as long as another segment might still be added. Looks at small columns
-- only. Same snapshot as its caller.
create function eventflow.pack_run_v1(p_topic int, p_after bigint, p_age_us bigint, p_span_us bigint)
    returns table (first_offset bigint, last_offset bigint, segments int) language plpgsql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    segment record;
    now timestamptz := clock_timestamp();
    old timestamptz := eventflow.after_us_v1(now, - p_age_us);
    began timestamptz;
    events bigint;
    added bigint;
    bytes bigint;
    closed boolean := false;
begin
    for segment in
        select s.first_offset, s.last_offset, s.bytes, s.recorded_time from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset > p_after order by s.last_offset
    loop
        added := segment.last_offset - segment.first_offset + 1;
        if began is null then
            exit when segment.recorded_time >= old;
            began := segment.recorded_time;
            first_offset := segment.first_offset;
            events := 0;
            bytes := 0;
            segments := 0;
            closed := added >= 1024 or segment.bytes >= 262144
                or began < eventflow.after_us_v1(old, - p_span_us);
        elsif added >= 1024 or segment.bytes >= 262144 or events + added > 4096
            or bytes + segment.bytes > 1048576
            or segment.recorded_time > eventflow.after_us_v1(began, p_span_us)
        then
            closed := true;
            exit;
        end if;
        exit when segment.recorded_time >= old;
        last_offset := segment.last_offset;
        events := events + added;
        bytes := bytes + segment.bytes;
        segments := segments + 1;
        exit when events >= 4096 or bytes >= 1048576 or (segments = 1 and (added >= 1024 or segment.bytes >= 262144));
    end loop;
    if closed or events >= 4096 or bytes >= 1048576 then
        return next;
    end if;
end $$;

-- Packs the segments from `p_first` to `p_last` into one and adds their link, if they still are what the server
-- read: `p_segments` of them, behind the link `p_chained_to`. Otherwise nothing happens, also while somebody else
-- changes segments of the topic. Appends do not wait for it: they insert behind the newest segment, of which
-- neither the last offset nor the time changes.
create function eventflow.pack_v1(
    p_topic int, p_log_id uuid, p_chained_to bigint, p_chain_hash bytea, p_first bigint, p_last bigint,
    p_segments int, p_version smallint, p_hash bytea, out outcome text
) language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_sort = off set jit = off
as $$
declare
    topic record;
    chain record;
    found_run record;
    mark record;
begin
    if not pg_try_advisory_xact_lock(1162237010 /* 'EFTR', as lock_topic_v1 */, p_topic) then
        outcome := 'busy';
        return;
    end if;
    outcome := 'moved';
    select t.trimmed_to, t.log_id into topic
        from eventflow.topics t where t.id = p_topic and t.deleted_time is null;
    if not found or topic.log_id <> p_log_id then
        return;
    end if;
    select l.last_offset, l.hash into chain
        from eventflow.links l where l.topic_id = p_topic order by l.last_offset desc limit 1;
    if (chain.last_offset, chain.hash) is distinct from (p_chained_to, p_chain_hash)
        or p_first <> greatest(chain.last_offset, topic.trimmed_to) + 1
    then
        return;
    end if;
    select count(*) as segments, min(s.first_offset) as first_offset, max(s.last_offset) as last_offset,
            sum(s.last_offset - s.first_offset + 1) as events
        into found_run from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset >= p_first and s.last_offset <= p_last;
    if (found_run.segments, found_run.first_offset, found_run.last_offset, found_run.events)
        is distinct from (p_segments::bigint, p_first, p_last, p_last - p_first + 1)
    then
        return;
    end if;

    if p_segments > 1 then
        -- A mark of sizes stands at the end of a segment: those inside go to the end of the new one.
        select m.last_offset, m.total_bytes into mark from eventflow.size_marks m
            where m.topic_id = p_topic and m.last_offset >= p_first and m.last_offset < p_last
            order by m.last_offset desc limit 1;
        if found then
            insert into eventflow.size_marks (topic_id, last_offset, total_bytes)
                select p_topic, p_last, mark.total_bytes + sum(s.bytes) from eventflow.segments s
                where s.topic_id = p_topic and s.last_offset > mark.last_offset and s.last_offset <= p_last
                on conflict do nothing;
            delete from eventflow.size_marks m
                where m.topic_id = p_topic and m.last_offset >= p_first and m.last_offset < p_last;
        end if;
        with gone as (
            delete from eventflow.segments s
            where s.topic_id = p_topic and s.last_offset >= p_first and s.last_offset <= p_last
            returning s.*
        ), events as (
            select g.first_offset + e.place - 1 as "offset", e.id, e.type, e.key, e.producer, e.payload,
                coalesce(e.recorded_time, g.recorded_time) as recorded_time, e.time, e.meta
            from gone g
            cross join lateral unnest(g.ids, g.types, g.keys, g.times, g.recorded_times, g.producers, g.metas,
                g.payloads) with ordinality e(id, type, key, time, recorded_time, producer, meta, payload, place)
        )
        insert into eventflow.segments (topic_id, bytes, first_offset, last_offset, batch, recorded_time,
                recorded_times, ids, types, keys, times, producers, metas, payloads)
            select p_topic, (select sum(g.bytes) from gone g), p_first, p_last, null, max(e.recorded_time),
                case when min(e.recorded_time) < max(e.recorded_time)
                    then array_agg(e.recorded_time order by e."offset") end,
                array_agg(e.id order by e."offset"), array_agg(e.type order by e."offset"),
                array_agg(e.key order by e."offset"),
                case when count(e.time) > 0 then array_agg(e.time order by e."offset") end,
                array_agg(e.producer order by e."offset"),
                case when count(e.meta) > 0 then array_agg(e.meta order by e."offset") end,
                array_agg(e.payload order by e."offset")
            from events e;
    end if;
    insert into eventflow.links (topic_id, first_offset, last_offset, log_id, version, hash)
        values (p_topic, p_first, p_last, p_log_id, p_version, p_hash);
    outcome := 'packed';
end $$;
revoke execute on function eventflow.pack_v1(int, uuid, bigint, bytea, bigint, bigint, int, smallint, bytea) from public;

-- As version 1, with the links.
create function eventflow.trim_delete_v2(p_topic int, p_up_to bigint, p_id_keys uuid[]) returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_sort = off set jit = off
as $$
begin
    perform eventflow.trim_delete_v1(p_topic, p_up_to, p_id_keys);
    -- The last one stays: the next is chained to it.
    delete from eventflow.links l where l.topic_id = p_topic and l.last_offset < (
        select n.last_offset from eventflow.links n
        where n.topic_id = p_topic and n.last_offset <= p_up_to order by n.last_offset desc limit 1);
end $$;
revoke execute on function eventflow.trim_delete_v2(int, bigint, uuid[]) from public;

-- As version 2, with the links.
create function eventflow.forget_topic_v3(p_topic int) returns void language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform eventflow.forget_topic_v2(p_topic);
    if not exists (select from eventflow.topics t where t.id = p_topic) then
        delete from eventflow.links l where l.topic_id = p_topic;
    end if;
end $$;
revoke execute on function eventflow.forget_topic_v3(int) from public;

-- As version 1, but that it says so when it cannot tell whether the batch was appended before: segments beyond
-- what the caller saw were packed since, and do not say any more by which attempts they came. Events with ids
-- are recognized by these.
create function eventflow.append_v2(
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
    packed boolean;
begin
    select t.sealed, t.trimmed_to, t.trimmed_time into topic_sealed, trimmed_to, trimmed_time
        from eventflow.topics t where t.id = p_topic and t.deleted_time is null for no key update;
    if not found then
        outcome := 'topic_not_found';
        return;
    end if;

    select s.first_offset, s.recorded_time, s.batch is null into first_offset, recorded_time, packed
        from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset > p_seen and (s.batch = p_batch or s.batch is null)
        order by s.batch is null limit 1;
    if not packed then
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

    if packed and cardinality(p_id_keys) < cardinality(p_ids) then
        outcome := 'forgotten';
        return;
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

-- As version 4, with the links, which servers read.
create function eventflow.grant_server_v5(p_role text) returns void language plpgsql volatile as $$
begin
    perform eventflow.grant_server_v4(p_role);
    execute format('revoke execute on function eventflow.grant_server_v5(text) from %I', p_role);
end $$;
revoke execute on function eventflow.grant_server_v5(text) from public;

update eventflow.schema set version = 19;
