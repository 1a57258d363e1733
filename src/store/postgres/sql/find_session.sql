select id, username, refresh_hash, create_time, expire_time, end_time
from eventflow.sessions where id = $1
