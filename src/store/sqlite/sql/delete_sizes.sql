-- The newest mark stays: counting goes on from it.
delete from size_marks
where topic_id = ?1 and last_offset <= ?2
  and last_offset < (select max(last_offset) from size_marks where topic_id = ?1)
