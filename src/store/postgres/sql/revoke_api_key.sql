update eventflow.api_keys set revoked = true where id = $1
returning id, secret_hash, owner_kind, owner_name, create_time, expire_time, last_used_time, revoked
