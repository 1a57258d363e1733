insert into topics (name, log_id, description, retention, retention_bytes, sealed, create_time)
values (?, ?, ?, ?, ?, ?, ?)
on conflict (name) do nothing
