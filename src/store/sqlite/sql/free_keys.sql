-- Of each key of which nothing is leased, the lowest event.
update queue_events
set due = ?3
where consumer_id = ?1 and due is null and lease_id is null and "offset" in (
    select (
        select a."offset" from queue_events a
        where a.consumer_id = ?1 and a.key = k.value
        order by a."offset" limit 1
    )
    from json_each(?2) k
    where not exists (
        select 1 from queue_events b where b.consumer_id = ?1 and b.key = k.value and b.lease_id is not null
    )
)
