select t.id, t.trimmed_to, eventflow.newest_offset_v1(t.id) as head
from eventflow.topics t
where t.id = any($1) and t.deleted_time is null
