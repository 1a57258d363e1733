-- An event that was dead before, and was delivered again since the consumer was moved, has the newer account.
insert into dead_letters
    (consumer_id, "offset", key, key_hash, attempts, error, cause, first_sent, last_sent, dead_time)
select ?1, p."offset",
    coalesce((select e.meta ->> 'key' from events e where e.topic_id = ?4 and e."offset" = p."offset"), ''),
    p.key, p.attempts, coalesce(p.error, ''), w.value ->> 1, p.first_sent, p.last_sent, ?3
from json_each(?2) w
cross join queue_events p on p.consumer_id = ?1 and p."offset" = w.value ->> 0
where true
on conflict (consumer_id, "offset") do update
set attempts = excluded.attempts, error = excluded.error, cause = excluded.cause,
    first_sent = excluded.first_sent, last_sent = excluded.last_sent, dead_time = excluded.dead_time
