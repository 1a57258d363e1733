-- When something is due, or a lease ends, by itself.
select min(next) as next from (
    select min(due) as next from queue_events where consumer_id = ?1 and alone = 0 and due > ?2 and due is not null
    union all
    select min(due) from queue_events where consumer_id = ?1 and alone = 1 and due > ?2 and due is not null
    union all
    select min(until) from queue_events where consumer_id = ?1 and lease_id is not null
)
