update eventflow.topics set
    description = coalesce($2, description),
    retention_us = case when $3 then $4 else retention_us end,
    retention_bytes = coalesce($5, retention_bytes),
    sealed = coalesce($6, sealed)
where name = $1 and deleted_time is null
returning id, log_id, name, description, retention_us, retention_bytes, sealed, create_time,
    trimmed_to, eventflow.newest_offset_v1(id) as head
