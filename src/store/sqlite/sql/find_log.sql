select t.sealed, t.trimmed_to,
       coalesce(newest."offset", t.trimmed_to) as head,
       coalesce(newest.recorded_time, t.trimmed_time) as newest_time,
       coalesce((select l.last_offset from links l where l.topic_id = t.id order by l.last_offset desc limit 1), 0)
           as linked_to
from topics t
left join events newest
    on newest.topic_id = t.id
    and newest."offset" = (select max("offset") from events where topic_id = t.id)
where t.id = ?
