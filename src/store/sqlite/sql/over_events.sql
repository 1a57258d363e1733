-- Leased events whose time is over, or whose server is not alive.
select "offset" from queue_events where consumer_id = ?1 and lease_id is not null and until <= ?2
union
select e."offset"
from leases l
cross join queue_events e on e.lease_id = l.lease_id
where l.consumer_id = ?1 and l.ended is null and l.server is not null
  and l.server not in (select unhex(value) from json_each(?3))
