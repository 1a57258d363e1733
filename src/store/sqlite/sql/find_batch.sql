select b.first_offset, e.recorded_time
from batches b
join events e on e.topic_id = b.topic_id and e."offset" = b.last_offset
where b.topic_id = ? and b.last_offset > ? and b.batch = ?
limit 1
