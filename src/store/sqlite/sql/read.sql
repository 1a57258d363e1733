-- First what was trimmed, in the place of an offset, then the events: one statement sees one instant. Events
-- of a topic that was deleted stay for a while, and are not read.
select trimmed_to as "offset", null as recorded_time, null as meta, null as payload
from topics
where id = ?1
union all
select * from (
    select "offset", recorded_time, meta, payload
    from events
    where topic_id = ?1 and "offset" > ?2 and exists (select 1 from topics where id = ?1)
    order by "offset"
    limit ?3
)
