insert into lease_events (lease_id, "offset", settled)
select e.lease_id, e."offset", ?3
from json_each(?2) w
cross join queue_events e on e.consumer_id = ?1 and e."offset" = w.value
