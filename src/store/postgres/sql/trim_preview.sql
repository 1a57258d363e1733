select eventflow.newest_offset_v1(t.id) as head, greatest(t.trimmed_to, (
    select s.last_offset from eventflow.segments s
    where s.topic_id = t.id and s.last_offset > t.trimmed_to and s.last_offset <= $2
    order by s.last_offset desc limit 1
)) as trimmed_to
from eventflow.topics t
where t.id = $1 and t.deleted_time is null
