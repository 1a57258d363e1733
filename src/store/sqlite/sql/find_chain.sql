select t.log_id, t.trimmed_to, t.retention, l.last_offset as linked_to, l.hash
from topics t
left join links l on l.topic_id = t.id
    and l.last_offset = (select n.last_offset from links n where n.topic_id = ?1 order by n.last_offset desc limit 1)
where t.id = ?1
