select id, pkcs8, create_time
from eventflow.signing_keys order by create_time, id
