select (s.c).* from (select eventflow.seek_consumer_v2($1, $2) as c) s where (s.c).id is not null
