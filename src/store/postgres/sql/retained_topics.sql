select id from eventflow.topics
where id > $1 and deleted_time is null and (retention_us is not null or retention_bytes > 0)
order by id limit $2
