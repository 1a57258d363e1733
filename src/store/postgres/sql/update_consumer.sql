select (s.c).* from (select eventflow.update_consumer_v2($1, $2, $3, $4, $5, $6) as c) s where (s.c).id is not null
