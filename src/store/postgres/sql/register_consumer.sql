-- The key of the topic's row is held until the consumer is there, so that the topic is not deleted meanwhile;
-- appends do not wait for it.
insert into eventflow.consumers (name, topic_id, mode, filter, start_from, start_offset, start_time,
    queue_lease_us, queue_backoff_us, queue_max_attempts, queue_max_in_flight, stored)
select $1, t.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
from eventflow.topics t
where t.id = $2 and t.deleted_time is null
    and not exists (select from eventflow.consumers c where c.name = $1)
for key share of t
on conflict (name) do nothing
returning id, create_time, epoch
