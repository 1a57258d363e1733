-- Not into the middle of a link.
with bounded (id, head, trimmed_to, up_to) as (
    select id, head, trimmed_to, max(trimmed_to, min(?2, head, trimmed_to + ?3)) from topics_with_heads where id = ?1
), target (id, head, up_to) as (
    select b.id, b.head, max(b.trimmed_to, min(b.up_to, coalesce((
        select l.first_offset - 1 from links l
        where l.topic_id = ?1 and l.last_offset > b.up_to
        order by l.last_offset limit 1), b.up_to)))
    from bounded b
)
update topics
set trimmed_to = target.up_to,
    trimmed_time = coalesce(
        (select e.recorded_time from events e where e.topic_id = ?1 and e."offset" = target.up_to), trimmed_time)
from target
where topics.id = target.id
returning trimmed_to, (select t.head from topics_with_heads t where t.id = ?1) as head
