select * from api_keys
where (?1 is null or owner_kind = ?1 and owner = ?2) and not (?3 and owner_kind = 'user') and id > ?4
order by id limit ?5
