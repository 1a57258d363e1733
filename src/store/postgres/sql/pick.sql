-- All of this sees one instant. Which runs they are in is found first, on small columns.
select t.trimmed_to, s.*
from eventflow.topics t
left join lateral (
    select s.first_offset, s.last_offset, s.recorded_time, s.recorded_times,
        s.ids, s.types, s.keys, s.times, s.producers, s.metas, s.payloads, w.runs > w.nth as more
    from (
        select r.last_offset, sum(r.bytes) over ascending - r.bytes as bytes_before,
            row_number() over ascending as nth, count(*) over () as runs
        from (
            select distinct n.last_offset, n.bytes
            from unnest($2::bigint[]) o(wanted)
            cross join lateral (
                select g.last_offset, g.first_offset, g.bytes from eventflow.segments g
                where g.topic_id = $1 and g.last_offset >= o.wanted
                order by g.last_offset limit 1
            ) n
            where o.wanted > t.trimmed_to and n.first_offset <= o.wanted
        ) r
        window ascending as (order by r.last_offset)
    ) w
    join eventflow.segments s on s.topic_id = $1 and s.last_offset = w.last_offset
    where w.bytes_before < $3
    order by s.last_offset
) s on true
where t.id = $1 and t.deleted_time is null
