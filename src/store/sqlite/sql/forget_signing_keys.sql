delete from signing_keys as k
where exists (select 1 from signing_keys n where n.create_time > k.create_time and n.create_time <= ?)
