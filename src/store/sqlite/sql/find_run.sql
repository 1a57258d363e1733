select "offset", recorded_time, meta, payload
from events
where topic_id = ? and "offset" > ?
order by "offset"
limit ?
