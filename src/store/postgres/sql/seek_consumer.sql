select (s.c).* from (select eventflow.seek_consumer_v1($1, $2) as c) s where (s.c).id is not null
