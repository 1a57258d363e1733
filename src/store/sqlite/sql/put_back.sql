-- Give or take a tenth, so that what failed together is not tried again together. What was trimmed was not sent.
update queue_events
set lease_id = null,
    until = null,
    alone = 0,
    due = ?3 + coalesce(w.value ->> 1, (w.value ->> 2) * (900000 + abs(random() % 200001)) / 1000000),
    error = coalesce(w.value ->> 3, error),
    first_sent = case when attempts > (w.value ->> 4) then first_sent end,
    last_sent = case when attempts > (w.value ->> 4) then last_sent end,
    attempts = attempts - (w.value ->> 4)
from json_each(?2) w
where queue_events.consumer_id = ?1 and queue_events."offset" = w.value ->> 0
