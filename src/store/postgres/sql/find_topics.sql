-- The limit keeps the planner from walking through all topics.
select t.*, eventflow.newest_offset_v1(t.id) as head
from unnest($1::text[]) wanted(name)
cross join lateral (
    select t.id, t.log_id, t.name, t.description, t.retention_us, t.retention_bytes, t.sealed, t.create_time, t.trimmed_to
    from eventflow.topics t where t.name = wanted.name and t.deleted_time is null limit 1
) t
