-- The last one stays: the next is chained to it.
delete from links
where topic_id = ?1 and last_offset < (select max(n.last_offset) from links n where n.topic_id = ?1 and n.last_offset <= ?2)
