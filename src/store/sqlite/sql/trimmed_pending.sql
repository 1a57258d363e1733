select "offset", key from queue_events
where consumer_id = ? and "offset" <= ? and lease_id is null
order by "offset"
