delete from leases where lease_id in (
    select o.lease_id
    from (
        select l.lease_id from consumers c
        cross join leases l on l.consumer_id = c.id and l.ended < ?1 - 2 * (c.queue ->> 'lease_micros')
        union all
        select l.lease_id from deleted_consumers d cross join leases l on l.consumer_id = d.consumer_id
    ) o
    where not exists (select 1 from lease_events e where e.lease_id = o.lease_id)
    limit ?2
)
