-- Links from the one behind which those wanted are chained, and what the topic held at that instant.
select t.log_id as topic_log_id, t.trimmed_to, eventflow.newest_offset_v1(t.id) as head,
    (select n.last_offset from eventflow.links n
        where n.topic_id = t.id order by n.last_offset desc limit 1) as linked_to,
    l.first_offset, l.last_offset, l.log_id, l.version, l.hash
from eventflow.topics t
left join lateral (
    select l.first_offset, l.last_offset, l.log_id, l.version, l.hash from eventflow.links l
    where l.topic_id = $1 and l.last_offset >= coalesce((
        select a.last_offset from eventflow.links a
        where a.topic_id = $1 and a.last_offset <= greatest($2, t.trimmed_to)
        order by a.last_offset desc limit 1), 0)
    order by l.last_offset limit $3
) l on true
where t.id = $1 and t.deleted_time is null
