select t.id, t.log_id, t.head, t.trimmed_to
from topics_with_heads t
where t.id in (select value from json_each(?))
