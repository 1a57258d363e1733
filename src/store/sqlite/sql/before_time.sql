-- Everything up to low was recorded before the time, nothing after high was.
with recursive halves (low, high) as (
    select trimmed_to, head from topics_with_heads where id = ?1
    union all
    select iif(middle.recorded_time < ?2, middle."offset", low),
           iif(middle.recorded_time < ?2, high, middle."offset" - 1)
    from halves
    join events middle on middle.topic_id = ?1 and middle."offset" = (low + high + 1) / 2
    where low < high
)
select low from halves where low = high
