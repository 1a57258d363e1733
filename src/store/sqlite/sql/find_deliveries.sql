-- What became of deliveries: whether they are open, settled or lost, and whether their leases are known.
select e.lease_id is not null as open, d.settled, l.lease_id is not null as known, e.key, e.attempts
from json_each(?2) s
left join leases l on l.lease_id = s.value ->> 0 and l.consumer_id = ?1
left join queue_events e
    on e.consumer_id = ?1 and e."offset" = s.value ->> 1 and e.lease_id = s.value ->> 0
left join lease_events d
    on d.lease_id = l.lease_id and d."offset" = s.value ->> 1
order by s.key
