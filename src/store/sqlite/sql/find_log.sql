select t.sealed, t.trimmed_to,
       coalesce(newest."offset", t.trimmed_to) as head,
       coalesce(newest.recorded_time, t.trimmed_time) as newest_time
from topics t
left join events newest
    on newest.topic_id = t.id
    and newest."offset" = (select max("offset") from events where topic_id = t.id)
where t.id = ?
