select id, username, family_hash, refresh_hash, create_time, refresh_expire_time, expire_time, end_time
from eventflow.sessions where id = $1
