select id, log_id, name, description, retention_us, retention_bytes, sealed, create_time,
    trimmed_to, eventflow.newest_offset_v1(id) as head
from eventflow.topics where name = $1 and deleted_time is null
