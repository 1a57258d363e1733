delete from event_ids
where topic_id = ?1
  and id_key in (select id_key from events where topic_id = ?1 and "offset" <= ?2 and id_key is not null)
