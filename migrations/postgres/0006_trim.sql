-- Trimming: first `trimmed_to` is raised, from when on nobody reads what is below it; then the
-- segments and their ids go, a bounded number in each call. Each call locks the topic against other
-- changes of its segments. Both functions run with their owner's rights, so that a server's role
-- needs no right to delete events.

-- Raises `trimmed_to` to the end of the last whole segment at or below `p_up_to`. No row if there is no such topic.
create function eventflow.trim_begin_v1(p_topic int, p_up_to bigint)
    returns table (trimmed_to bigint, head bigint)
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    last record;
begin
    perform eventflow.lock_topic_v1(p_topic);
    select t.trimmed_to into trimmed_to
        from eventflow.topics t where t.id = p_topic and t.deleted_time is null for no key update;
    if not found then
        return;
    end if;
    select s.last_offset, s.recorded_time into last
        from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset > trim_begin_v1.trimmed_to and s.last_offset <= p_up_to
        order by s.last_offset desc limit 1;
    if found then
        trimmed_to := last.last_offset;
        update eventflow.topics t set trimmed_to = last.last_offset, trimmed_time = last.recorded_time
            where t.id = p_topic;
    end if;
    head := greatest(trimmed_to, eventflow.newest_offset_v1(p_topic));
    return next;
end $$;

-- Deletes the segments up to `p_up_to`, which must be trimmed, and these of their ids. Keys that the
-- topic does not have do no harm, nor does an id given again since: its event lies beyond.
create function eventflow.trim_delete_v1(p_topic int, p_up_to bigint, p_id_keys uuid[]) returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_sort = off set jit = off
as $$
begin
    perform eventflow.lock_topic_v1(p_topic);
    -- By place, each looked up by its key: the planner may take the table for empty, and would walk
    -- through all ids of the topic. These rows are never updated, so that a place stays true.
    delete from eventflow.event_ids e
        using unnest(p_id_keys) wanted(id_key)
        cross join lateral (
            select g.ctid as place from eventflow.event_ids g
            where g.topic_id = p_topic and g.id_key = wanted.id_key and g."offset" <= p_up_to limit 1
        ) gone
        where e.ctid = gone.place;
    delete from eventflow.segments s where s.topic_id = p_topic and s.last_offset <= p_up_to;
end $$;

revoke execute on function eventflow.trim_begin_v1(int, bigint) from public;
revoke execute on function eventflow.trim_delete_v1(int, bigint, uuid[]) from public;

update eventflow.schema set version = 6;
