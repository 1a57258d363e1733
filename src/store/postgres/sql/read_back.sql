-- As read.sql, from the new end: which segments are wanted is found first, on small columns.
select t.trimmed_to, s.*
from eventflow.topics t
left join lateral (
    select s.first_offset, s.last_offset, s.bytes, s.recorded_time, s.recorded_times,
        s.ids, s.types, s.keys, s.times, s.producers, s.metas, s.payloads
    from eventflow.read_back_v1($1, $2, t.trimmed_to, $3, $4) wanted
    join eventflow.segments s on s.topic_id = $1
        and s.last_offset >= wanted.oldest and s.last_offset <= wanted.newest and s.first_offset <= $2
    order by s.last_offset
) s on true
where t.id = $1 and t.deleted_time is null
