-- What was not sent is as if it had never been leased.
update queue_events
set lease_id = null,
    until = null,
    due = ?3,
    alone = case when ?4 then alone else 1 end,
    attempts = attempts - ?4,
    first_sent = case when ?4 and attempts = 1 then null else first_sent end,
    last_sent = case when ?4 and attempts = 1 then null else last_sent end
where consumer_id = ?1 and "offset" in (select value from json_each(?2))
returning "offset", key, attempts
