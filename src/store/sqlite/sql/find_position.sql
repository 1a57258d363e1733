select c.epoch, c.stored, t.head
from consumers c
join topics_with_heads t on t.id = c.topic_id
where c.id = ?
