delete from dead_letters where (consumer_id, "offset") in (
    select e.consumer_id, e."offset"
    from deleted_consumers d cross join dead_letters e on e.consumer_id = d.consumer_id
    limit ?
)
