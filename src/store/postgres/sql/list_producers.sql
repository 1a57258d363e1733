select name, description, topics, disabled, create_time
from eventflow.producers where name > $1 order by name limit $2
