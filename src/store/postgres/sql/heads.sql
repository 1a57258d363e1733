-- The limit keeps the planner from turning the join round: on a table that it takes for small it would
-- walk through all topics.
select wanted.id, t.log_id, t.trimmed_to, t.head
from unnest($1::int[]) wanted(id)
cross join lateral (
    select t.log_id, t.trimmed_to, eventflow.newest_offset_v1(t.id) as head
    from eventflow.topics t
    where t.id = wanted.id and t.deleted_time is null limit 1
) t
