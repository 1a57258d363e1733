update leases
set ended = ?2
where consumer_id = ?1 and ended is null
  and not exists (select 1 from queue_events e where e.lease_id = leases.lease_id)
