-- Retention: how much of a topic's old end is not kept any longer, found at a cost that does not grow with
-- what is kept. By age the primary key is bisected, since recorded time never decreases. By size there are
-- marks: after every 1,024 segments, how many bytes were counted so far. Marks are inserted, never changed,
-- so that each segment is counted once; a total updated in place would be slow while a snapshot is held.

create table eventflow.size_marks (
    topic_id int not null,
    last_offset bigint not null,                -- of a segment
    total_bytes bigint not null,                -- of the segments up to it, since counting began
    primary key (topic_id, last_offset)
);
create index size_marks_by_total on eventflow.size_marks (topic_id, total_bytes);

-- The last offset behind which the newest `p_bytes` bytes lie whole; `p_trimmed_to` if there are not so many.
-- Null if there is more to count than one call may; what was counted is marked.
create function eventflow.due_by_size_v1(p_topic int, p_trimmed_to bigint, p_bytes bigint)
    returns bigint language plpgsql volatile
    set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    top record;                                 -- the newest mark; then the first one beyond the target
    part record;                                -- the segments after it
    target bigint;                              -- what was counted up to here is due
begin
    select m.last_offset, m.total_bytes into top
        from eventflow.size_marks m where m.topic_id = p_topic order by m.last_offset desc limit 1;
    if not found then
        select p_trimmed_to as last_offset, 0::bigint as total_bytes into top;
    end if;
    for round in 1..65 loop
        if round = 65 then
            return null;
        end if;
        select coalesce(max(s.last_offset), top.last_offset) as last_offset,
                (top.total_bytes + coalesce(sum(s.bytes), 0))::bigint as total_bytes, count(*) as segments into part
            from (
                select s.last_offset, s.bytes from eventflow.segments s
                where s.topic_id = p_topic and s.last_offset > greatest(top.last_offset, p_trimmed_to)
                order by s.last_offset limit 1024
            ) s;
        exit when part.segments < 1024;
        insert into eventflow.size_marks (topic_id, last_offset, total_bytes)
            values (p_topic, part.last_offset, part.total_bytes);
        top := part;
    end loop;

    target := part.total_bytes - p_bytes;
    select m.last_offset, m.total_bytes into top
        from eventflow.size_marks m
        where m.topic_id = p_topic and m.total_bytes > target order by m.total_bytes limit 1;
    if not found then
        top := part;
    end if;
    -- Downwards, since what lies below may have been trimmed: the mark before is not farther than this.
    return (
        select coalesce(max(s.last_offset), p_trimmed_to)
        from (
            select s.last_offset,
                top.total_bytes + s.bytes - sum(s.bytes) over (order by s.last_offset desc) as total_bytes
            from (
                select s.last_offset, s.bytes from eventflow.segments s
                where s.topic_id = p_topic and s.last_offset <= top.last_offset and s.last_offset > p_trimmed_to
                order by s.last_offset desc limit 1026
            ) s
        ) s
        where s.total_bytes <= target
    );
end $$;

-- Raises a topic's `trimmed_to` over the whole segments that its retention does not keep, from when on nobody
-- reads them; trim_delete_v1 removes them. The clock is the one by which events are recorded. If the retention
-- is changed meanwhile, nothing happens. `more`: sizes are still to be counted.
create function eventflow.expire_v1(p_topic int, out trimmed_to bigint, out more boolean)
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    kept record;
    now timestamptz := clock_timestamp();
    due bigint;
    by_size bigint;
    last record;
begin
    more := false;
    perform eventflow.lock_topic_v1(p_topic);
    select t.trimmed_to, t.retention_us, t.retention_bytes into kept
        from eventflow.topics t where t.id = p_topic and t.deleted_time is null;
    if not found then
        return;
    end if;
    trimmed_to := kept.trimmed_to;
    due := kept.trimmed_to;
    -- Nothing was recorded before 1970, and the calendar ends some time before.
    if kept.retention_us < extract(epoch from now) * 1000000 then
        due := greatest(due, eventflow.before_time_v1(p_topic, eventflow.after_us_v1(now, - kept.retention_us)));
    end if;
    if kept.retention_bytes > 0 then
        by_size := eventflow.due_by_size_v1(p_topic, kept.trimmed_to, kept.retention_bytes);
        more := by_size is null;
        due := greatest(due, by_size);
    end if;
    select s.last_offset, s.recorded_time into last
        from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset > kept.trimmed_to and s.last_offset <= due
        order by s.last_offset desc limit 1;
    if not found then
        return;
    end if;
    update eventflow.topics t set trimmed_to = last.last_offset, trimmed_time = last.recorded_time
        where t.id = p_topic and t.deleted_time is null
            and t.retention_us is not distinct from kept.retention_us and t.retention_bytes = kept.retention_bytes;
    if found then
        trimmed_to := last.last_offset;
        -- The newest mark stays: counting goes on from it.
        delete from eventflow.size_marks m
            where m.topic_id = p_topic and m.last_offset <= last.last_offset and m.last_offset < (
                select n.last_offset from eventflow.size_marks n
                where n.topic_id = p_topic order by n.last_offset desc limit 1);
    end if;
end $$;
revoke execute on function eventflow.expire_v1(int) from public;

-- As version 1, with the marks.
create function eventflow.forget_topic_v2(p_topic int) returns void language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform eventflow.forget_topic_v1(p_topic);
    if not exists (select from eventflow.topics t where t.id = p_topic) then
        delete from eventflow.size_marks m where m.topic_id = p_topic;
    end if;
end $$;
revoke execute on function eventflow.forget_topic_v2(int) from public;

update eventflow.schema set version = 17;
