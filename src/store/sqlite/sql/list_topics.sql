-- Nothing that begins with the prefix comes after the prefix and the last character there is.
select * from topics_with_heads
where name >= ?1 and name < ?1 || char(0x10ffff) and name > ?2
order by name
limit ?3
