select subscription, server_name, peer, connect_time
from (
    select s.subscription, s.server_name, s.peer, s.connect_time, s.epoch
    from connections s
    join consumers c on c.id = s.consumer_id
    where s.consumer_id = ?1 and c.held_until > ?2
    union all
    select subscription, server_name, peer, connect_time, 0 from queue_connections
    where consumer_id = ?1 and until > ?2
)
order by connect_time, epoch, subscription
