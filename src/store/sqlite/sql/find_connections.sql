select s.subscription, s.server_name, s.peer, s.connect_time
from connections s
join consumers c on c.id = s.consumer_id
where s.consumer_id = ? and c.held_until > ?
order by s.connect_time, s.epoch
