-- The last offset up to ?2 that is not in the middle of a link.
select min(?2, coalesce((
    select l.first_offset - 1 from links l
    where l.topic_id = ?1 and l.last_offset > ?2
    order by l.last_offset limit 1), ?2)) as up_to
