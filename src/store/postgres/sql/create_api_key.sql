insert into eventflow.api_keys (id, secret_hash, owner_kind, owner_name, create_time, expire_time, revoked)
values ($1, $2, $3, $4, $5, $6, $7)
