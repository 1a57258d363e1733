select id from topics
where id > ? and (retention is not null or retention_bytes > 0)
order by id limit ?
