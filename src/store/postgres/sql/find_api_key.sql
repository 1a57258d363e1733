select id, secret_hash, owner_kind, owner_name, create_time, expire_time, last_used_time, revoked
from eventflow.api_keys where id = $1
