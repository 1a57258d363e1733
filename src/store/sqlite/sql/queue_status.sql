select c.id,
    coalesce(
        (select e."offset" - 1 from queue_events e
            where e.consumer_id = c.id and e.redriven = 0 order by e."offset" limit 1),
        q.dispatched, c.stored) as position,
    (select count(*) from queue_events e where e.consumer_id = c.id and e.lease_id is not null) as leased,
    (select count(*) from queue_events e
        join leases l on l.lease_id = e.lease_id
        where e.consumer_id = c.id and e.lease_id is not null and (e.until <= ?2
            or l.server is not null and l.server not in (select unhex(value) from json_each(?3)))) as over,
    (select count(*) from queue_events e
        where e.consumer_id = c.id and e.due is not null and e.attempts > 0) as failed,
    (select count(*) from dead_letters d where d.consumer_id = c.id) as dead_letters
from json_each(?1) w
cross join consumers c on c.id = w.value
left join queues q on q.consumer_id = c.id
where c.mode = 'queue'
