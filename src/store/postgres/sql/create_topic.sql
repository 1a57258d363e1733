-- A name that is taken must not use up a number, so it is looked for first.
insert into eventflow.topics (name, description, retention_us, retention_bytes, sealed)
select $1, $2, $3, $4, $5
where not exists (select from eventflow.topics t where t.name = $1 and t.deleted_time is null)
on conflict (name) where deleted_time is null do nothing
returning id, log_id, name, description, retention_us, retention_bytes, sealed, create_time,
    trimmed_to, 0::bigint as head
