insert into connections (consumer_id, epoch, subscription, server, server_name, peer, connect_time)
values (?, ?, ?, ?, ?, ?, ?)
