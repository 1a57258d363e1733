insert into eventflow.sessions (id, username, refresh_hash, create_time, expire_time, end_time)
values ($1, $2, $3, $4, $5, $6)
