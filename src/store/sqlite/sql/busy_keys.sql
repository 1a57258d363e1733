select distinct key from queue_events
where consumer_id = ?1 and key in (select value from json_each(?2))
