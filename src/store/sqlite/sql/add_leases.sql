insert into leases (lease_id, consumer_id, token, stream, server, alone)
select value ->> 0, ?1, unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), value ->> 4 from json_each(?2)
