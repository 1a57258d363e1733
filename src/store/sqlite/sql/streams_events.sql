select e.lease_id, e."offset"
from leases l
cross join queue_events e on e.lease_id = l.lease_id
where l.consumer_id = ? and l.ended is null and l.stream = ?
order by e."offset"
