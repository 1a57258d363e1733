select id, name, topic_id, topic, mode, filter, start_from, start_offset, start_time,
    queue_lease_us, queue_backoff_us, queue_max_attempts, queue_max_in_flight,
    create_time, stored, epoch, paused, trimmed_events, revision
from eventflow.consumer_rows_v1 where name = $1
