-- No character of a name comes after `~`, so all names that begin with $1 lie before $1~.
select id, log_id, name, description, retention_us, retention_bytes, sealed, create_time,
    trimmed_to, eventflow.newest_offset_v1(id) as head
from eventflow.topics
where name >= $1 and name < $1 || '~' and name > $2 and deleted_time is null
order by name limit $3
