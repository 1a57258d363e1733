select e."offset", e.recorded_time, e.type, e.key, e.id, e.time, e.producer, e.content_type, e.correlation_id,
       e.meta, e.payload, t.trimmed_to
from topics t
left join events e on e.topic_id = t.id and e."offset" > ?
where t.id = ?
order by e."offset"
limit ?
