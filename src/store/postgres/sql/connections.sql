select subscription, peer, server_name, connect_time, count(*) over () as total
from eventflow.connections
where consumer_id = $1 and until > clock_timestamp()
order by connect_time, subscription limit $2
