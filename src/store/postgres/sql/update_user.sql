select u.outcome, (u.changed).name, (u.changed).role, (u.changed).disabled, (u.changed).password_hash,
    (u.changed).create_time
from eventflow.update_user_v1($1, $2, $3, $4) u
