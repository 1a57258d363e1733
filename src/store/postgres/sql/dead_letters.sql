select "offset", key, attempts, error, cause, first_sent, last_sent, dead_time
from eventflow.dead_letters
where consumer_id = $1 and "offset" > $2
order by "offset"
limit $3
