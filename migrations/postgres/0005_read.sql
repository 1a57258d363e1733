-- Reading a topic's log.

-- The newest offset of a segment; 0 if there is none. The head is this or `trimmed_to`, whichever is more.
create function eventflow.newest_offset_v1(p_topic int) returns bigint language sql stable
as $$
    select coalesce((
        select s.last_offset from eventflow.segments s
        where s.topic_id = p_topic order by s.last_offset desc limit 1
    ), 0)
$$;

-- Where a read after `p_after` ends: at the first stored segment that reaches a cap. It looks at the
-- small columns only, so that the read itself fetches no segment in vain. Same snapshot as its caller.
create function eventflow.read_end_v1(p_topic int, p_after bigint, p_max_events bigint, p_max_bytes bigint)
    returns bigint language plpgsql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    segment record;
    stop bigint := p_after;
    bytes bigint := 0;
begin
    for segment in
        select s.last_offset, s.bytes from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset > p_after order by s.last_offset
    loop
        stop := segment.last_offset;
        bytes := bytes + segment.bytes;
        exit when bytes >= p_max_bytes or stop - p_after >= p_max_events;
    end loop;
    return stop;
end $$;

-- The offset before the first event recorded at or after `p_time`, found by bisecting the primary key:
-- recorded time never decreases. Null if there is no such topic.
create function eventflow.before_time_v1(p_topic int, p_time timestamptz) returns bigint language plpgsql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    trimmed_to bigint;
    low bigint;                -- segments up to here are older than p_time
    high bigint;               -- the last offset of the segments still to be looked at
    middle bigint;
    candidate record;
    best record;               -- the oldest segment known that ends at or after p_time
begin
    select t.trimmed_to into trimmed_to from eventflow.topics t where t.id = p_topic and t.deleted_time is null;
    if not found then
        return null;
    end if;
    select s.first_offset, s.last_offset, s.recorded_time into best
        from eventflow.segments s where s.topic_id = p_topic and s.last_offset > trimmed_to
        order by s.last_offset desc limit 1;
    if not found then
        return trimmed_to;
    end if;
    if best.recorded_time < p_time then
        return best.last_offset;
    end if;
    low := trimmed_to;
    high := best.first_offset - 1;
    while low < high loop
        middle := low + (high - low) / 2;
        select s.first_offset, s.last_offset, s.recorded_time into strict candidate
            from eventflow.segments s where s.topic_id = p_topic and s.last_offset > middle
            order by s.last_offset limit 1;
        if candidate.recorded_time >= p_time then
            best := candidate;
            high := candidate.first_offset - 1;
        else
            low := candidate.last_offset;
        end if;
    end loop;
    return (
        select greatest(trimmed_to, s.first_offset - 1 + (
            select count(*) from unnest(s.recorded_times) recorded(at) where recorded.at < p_time))
        from eventflow.segments s where s.topic_id = p_topic and s.last_offset = best.last_offset
    );
end $$;

update eventflow.schema set version = 5;
