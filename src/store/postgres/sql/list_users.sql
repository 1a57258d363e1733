select name, role, disabled, password_hash, create_time
from eventflow.users where name > $1 order by name limit $2
