select * from topics_with_heads where name in (select value from json_each(?))
