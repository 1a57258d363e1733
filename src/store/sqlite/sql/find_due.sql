-- The last of the events up to ?2 up to which at most ?4 bytes were counted, if ?3 were up to ?2.
with part as (
    select "offset", octet_length(payload) + octet_length(meta) as bytes
    from events
    where topic_id = ?1 and "offset" <= ?2
    order by "offset" desc
    limit ?5
), counted as (
    select "offset", ?3 + bytes - sum(bytes) over (order by "offset" desc) as total_bytes from part
)
select coalesce(max("offset"), 0) as due from counted where total_bytes <= ?4
