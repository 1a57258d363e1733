select id, name, version, start_time from eventflow.servers
where until > clock_timestamp()
order by start_time, id limit $1
