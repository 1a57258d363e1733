-- What requests got that have these tokens.
select l.token, l.lease_id, l.alone, e."offset", e.attempts, e.until
from leases l
cross join queue_events e on e.lease_id = l.lease_id
where l.consumer_id = ?1 and l.ended is null and l.token in (select unhex(value) from json_each(?2))
order by l.lease_id, e."offset"
