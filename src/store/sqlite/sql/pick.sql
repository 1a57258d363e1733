-- First what was trimmed, in the place of an offset, then the events: one statement sees one instant.
select trimmed_to as "offset", null as recorded_time, null as meta, null as payload
from topics
where id = ?1
union all
select * from (
    select e."offset", e.recorded_time, e.meta, e.payload
    from json_each(?2) w
    cross join events e on e.topic_id = ?1 and e."offset" = w.value
    where exists (select 1 from topics where id = ?1)
    order by w.key
)
