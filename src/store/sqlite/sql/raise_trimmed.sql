with target (id, head, up_to) as (
    select id, head, max(trimmed_to, min(?2, head, trimmed_to + ?3)) from topics_with_heads where id = ?1
)
update topics
set trimmed_to = target.up_to,
    trimmed_time = coalesce(
        (select e.recorded_time from events e where e.topic_id = ?1 and e."offset" = target.up_to), trimmed_time)
from target
where topics.id = target.id
returning trimmed_to, (select t.head from topics_with_heads t where t.id = ?1) as head
