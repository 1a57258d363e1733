-- Of leases that ended long ago, or whose consumers were deleted.
delete from lease_events where (lease_id, "offset") in (
    select e.lease_id, e."offset"
    from (
        select l.lease_id from consumers c
        cross join leases l on l.consumer_id = c.id and l.ended < ?1 - 2 * (c.queue ->> 'lease_micros')
        union all
        select l.lease_id from deleted_consumers d cross join leases l on l.consumer_id = d.consumer_id
    ) o
    cross join lease_events e on e.lease_id = o.lease_id
    limit ?2
)
