-- The oldest events up to an offset, at most so many, and until so many bytes are together.
with oldest as (
    select "offset", octet_length(payload) as bytes
    from events
    where topic_id = ?1 and "offset" <= ?2
    order by "offset"
    limit ?3
), summed as (
    select "offset", sum(bytes) over (order by "offset") - bytes as before from oldest
)
select max("offset") as last, count(*) as events from summed where before < ?4
