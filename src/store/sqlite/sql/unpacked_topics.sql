select t.id
from topics t
where t.id > ?1 and ?2 > (
    select e.recorded_time from events e
    where e.topic_id = t.id and e."offset" > max(t.trimmed_to, coalesce((
        select l.last_offset from links l where l.topic_id = t.id order by l.last_offset desc limit 1), 0))
    order by e."offset" limit 1)
order by t.id limit ?3
