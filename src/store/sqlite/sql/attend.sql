insert into queue_connections (consumer_id, subscription, server_name, peer, connect_time, until)
select c.id, unhex(s.value ->> 1), s.value ->> 2, s.value ->> 3, ?2, ?3
from json_each(?1) s
cross join consumers c on c.id = s.value ->> 0
where true
on conflict (consumer_id, subscription) do update set until = excluded.until
