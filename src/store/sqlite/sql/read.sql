-- First what was trimmed, in the place of an offset, then the events: one statement sees one instant.
select trimmed_to as "offset", null as recorded_time, null as meta, null as payload
from topics
where id = ?
union all
select * from (
    select "offset", recorded_time, meta, payload
    from events
    where topic_id = ? and "offset" > ?
    order by "offset"
    limit ?
)
