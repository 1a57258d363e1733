-- As read.sql, from the new end.
select trimmed_to as "offset", null as recorded_time, null as meta, null as payload
from topics
where id = ?1
union all
select * from (
    select "offset", recorded_time, meta, payload
    from events
    where topic_id = ?1 and "offset" <= ?2 and "offset" > (select trimmed_to from topics where id = ?1)
    order by "offset" desc
    limit ?3
)
