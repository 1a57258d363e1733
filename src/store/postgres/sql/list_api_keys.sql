select id, secret_hash, owner_kind, owner_name, create_time, expire_time, last_used_time, revoked
from eventflow.api_keys
where ($1::text is null or owner_kind = $1 and owner_name = $2) and not ($3 and owner_kind = 'user') and id > $4
order by id limit $5
