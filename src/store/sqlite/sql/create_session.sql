insert into sessions
    (id, user, family_hash, refresh_hash, create_time, refresh_expire_time, expire_time)
values (?, ?, ?, ?, ?, ?, ?)
