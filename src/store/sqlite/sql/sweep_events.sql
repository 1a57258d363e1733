delete from queue_events where (consumer_id, "offset") in (
    select e.consumer_id, e."offset"
    from deleted_consumers d cross join queue_events e on e.consumer_id = d.consumer_id
    limit ?
)
