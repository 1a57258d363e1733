-- All of this sees one instant. The end is found first, on small columns, as read_end_v1 runs once.
select t.trimmed_to, s.*
from eventflow.topics t
left join lateral (
    select s.first_offset, s.last_offset, s.bytes, s.recorded_time, s.recorded_times,
        s.ids, s.types, s.keys, s.times, s.producers, s.metas, s.payloads
    from eventflow.segments s
    where s.topic_id = $1 and s.last_offset > greatest($2, t.trimmed_to)
        and s.last_offset <= eventflow.read_end_v1($1, greatest($2, t.trimmed_to), $3, $4)
    order by s.last_offset
) s on true
where t.id = $1 and t.deleted_time is null
