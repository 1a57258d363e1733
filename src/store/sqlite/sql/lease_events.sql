insert into queue_events (consumer_id, "offset", key, lease_id, until, attempts, first_sent, last_sent)
select ?1, value ->> 0, value ->> 1, value ->> 2, ?3, 1, ?4, ?4 from json_each(?2)
where true
on conflict (consumer_id, "offset") do update
set lease_id = excluded.lease_id, until = excluded.until, due = null, waits = 0, attempts = attempts + 1,
    first_sent = coalesce(first_sent, excluded.first_sent), last_sent = excluded.last_sent
