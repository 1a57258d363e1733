select l.stream, max(l.alone) as alone, count(*) as open
from leases l
cross join queue_events e on e.lease_id = l.lease_id
where l.consumer_id = ? and l.ended is null
group by l.stream
