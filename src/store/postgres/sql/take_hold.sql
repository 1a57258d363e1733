select h.outcome, h.remaining_us, (h.consumer).id, (h.consumer).name, (h.consumer).topic_id, (h.consumer).topic,
    (h.consumer).mode, (h.consumer).filter, (h.consumer).start_from, (h.consumer).start_offset,
    (h.consumer).start_time, (h.consumer).queue_lease_us, (h.consumer).queue_backoff_us,
    (h.consumer).queue_max_attempts, (h.consumer).queue_max_in_flight, (h.consumer).create_time,
    (h.consumer).stored, (h.consumer).epoch, (h.consumer).paused, (h.consumer).trimmed_events, (h.consumer).revision
from eventflow.take_hold_v1(
    p_consumer => $1, p_subscription => $2, p_server => $3, p_server_name => $4, p_peer => $5,
    p_take_over => $6, p_lease_us => $7) h
