-- Events for people who know SQL: one row for each.

-- The payload as text; null if it is not UTF-8, or holds U+0000, which Postgres cannot keep in text.
create function eventflow.payload_text_v1(p_payload bytea) returns text language plpgsql immutable parallel safe as $$
begin
    return convert_from(p_payload, 'UTF8');
exception when others then
    return null;
end $$;

-- The payload as JSON; null on any error. Postgres refuses some JSON that is valid elsewhere (\u0000,
-- lone surrogates, 1e200000, deep nesting), and one such event must not spoil a query.
create function eventflow.payload_json_v1(p_payload bytea) returns jsonb language plpgsql immutable parallel safe as $$
begin
    return convert_from(p_payload, 'UTF8')::jsonb;
exception when others then
    return null;
end $$;

-- The events of the segments that end after `p_after` and not after `p_stop`.
create function eventflow.segment_events_v1(p_topic int, p_after bigint, p_stop bigint)
    returns table (
        "offset" bigint, id text, type text, key text, source text, "time" timestamptz,
        recorded_time timestamptz, producer text, content_type text, correlation_id text, causation_id text,
        attributes jsonb, payload bytea, payload_text text, payload_json jsonb)
    language sql stable
as $$
    select s.first_offset + e.place - 1, e.id, e.type, e.key,
        coalesce(e.meta ->> 'source', '/' || e.producer),
        coalesce(e.time, e.recorded_time, s.recorded_time),
        coalesce(e.recorded_time, s.recorded_time),
        e.producer,
        coalesce(e.meta ->> 'content_type', 'application/json'),
        coalesce(e.meta ->> 'correlation_id', ''),
        coalesce(e.meta ->> 'causation_id', ''),
        coalesce(e.meta -> 'attributes', '{}'),
        e.payload, eventflow.payload_text_v1(e.payload), eventflow.payload_json_v1(e.payload)
    from eventflow.segments s
    cross join lateral unnest(s.ids, s.types, s.keys, s.times, s.recorded_times, s.producers, s.metas, s.payloads)
        with ordinality e(id, type, key, time, recorded_time, producer, meta, payload, place)
    where s.topic_id = p_topic and s.last_offset > p_after and s.last_offset <= p_stop
$$;

create view eventflow.events as
    select t.name as topic, e.*
    from eventflow.topics t
    cross join lateral eventflow.segment_events_v1(t.id, t.trimmed_to, 9223372036854775807) e
    where t.deleted_time is null and e."offset" > t.trimmed_to;

-- At most `lim` events of a topic after an offset, in order, by the primary key.
create function eventflow.read(topic text, after bigint default 0, lim int default 100)
    returns setof eventflow.events language plpgsql stable
    set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    t record;
    start bigint;
begin
    select p.id, p.trimmed_to into t from eventflow.topics p where p.name = read.topic and p.deleted_time is null;
    if not found then
        raise exception 'there is no topic %', topic using errcode = 'no_data_found';
    end if;
    start := greatest(after, t.trimmed_to);
    return query
        select read.topic, e.*
        from eventflow.segment_events_v1(t.id, start, eventflow.read_end_v1(t.id, start, lim, 9223372036854775807)) e
        where e."offset" > start order by e."offset" limit greatest(lim, 0);
end $$;

update eventflow.schema set version = 9;
