-- Reading a topic's log from its new end.

-- Which stored segments a read back from `p_up_to` takes: those whose `last_offset` is from `oldest` to
-- `newest`. It walks backwards from the segment that holds `p_up_to`, or from the newest one, until a cap is
-- reached, on the small columns only. No row if nothing is kept there. Same snapshot as its caller.
create function eventflow.read_back_v1(
    p_topic int, p_up_to bigint, p_trimmed_to bigint, p_max_events bigint, p_max_bytes bigint)
    returns table (oldest bigint, newest bigint) language plpgsql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    segment record;
    events bigint := 0;
    bytes bigint := 0;
begin
    select s.last_offset into newest from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset >= p_up_to order by s.last_offset limit 1;
    if not found then
        newest := eventflow.newest_offset_v1(p_topic);
    end if;
    for segment in
        select s.first_offset, s.last_offset, s.bytes from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset <= newest and s.last_offset > p_trimmed_to
        order by s.last_offset desc
    loop
        oldest := segment.last_offset;
        events := events + segment.last_offset - segment.first_offset + 1;
        bytes := bytes + segment.bytes;
        exit when bytes >= p_max_bytes or events >= p_max_events;
    end loop;
    if oldest is not null then
        return next;
    end if;
end $$;

update eventflow.schema set version = 16;
