select consumer_id, "position", in_flight, retrying, dead_letters from eventflow.queue_status_v1($1)
