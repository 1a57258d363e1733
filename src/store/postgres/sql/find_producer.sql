select name, description, topics, disabled, create_time
from eventflow.producers where name = $1
