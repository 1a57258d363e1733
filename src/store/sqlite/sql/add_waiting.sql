insert into queue_events (consumer_id, "offset", key, waits, attempts)
select ?1, value ->> 0, value ->> 1, 1, 0 from json_each(?2)
