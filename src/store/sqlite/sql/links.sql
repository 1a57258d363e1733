-- Links from the one behind which those wanted are chained, and what the topic held at that instant.
select t.log_id as topic_log_id, t.trimmed_to, t.head,
       (select n.last_offset from links n where n.topic_id = ?1 order by n.last_offset desc limit 1) as linked_to,
       l.first_offset, l.last_offset, l.log_id, l.version, l.hash
from topics_with_heads t
left join links l on l.topic_id = ?1 and l.last_offset >= coalesce((
    select a.last_offset from links a
    where a.topic_id = ?1 and a.last_offset <= max(?2, t.trimmed_to)
    order by a.last_offset desc limit 1), 0)
where t.id = ?1
order by l.last_offset
limit ?3
