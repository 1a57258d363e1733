-- Those of events that are on their way anyway are left out.
insert into queue_events (consumer_id, "offset", key, due, redriven, attempts)
select ?1, d."offset", d.key_hash, case when d.key_hash is null then ?3 end, 1, 0
from json_each(?2) w
cross join dead_letters d on d.consumer_id = ?1 and d."offset" = w.value
where d."offset" <= ?4
on conflict do nothing
