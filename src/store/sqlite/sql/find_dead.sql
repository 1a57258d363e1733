-- The first of those asked for, and how many there are.
select "offset", key_hash, count(*) over () as total from dead_letters
where consumer_id = ?1 and (?2 is null or "offset" in (select value from json_each(?2)))
order by "offset"
limit ?3
