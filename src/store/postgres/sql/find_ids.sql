select id_key, "offset", content_hash, recorded_time
from eventflow.known_ids_v1($1, $2)
