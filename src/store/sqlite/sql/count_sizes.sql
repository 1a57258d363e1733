-- The next events, at most so many. Only headers of rows are read, not long payloads.
with part as (
    select "offset", octet_length(payload) + octet_length(meta) as bytes
    from events
    where topic_id = ?1 and "offset" > ?2
    order by "offset"
    limit ?3
)
select coalesce(max("offset"), ?2) as last_offset, coalesce(sum(bytes), 0) as bytes, count(*) as events from part
