select 1 where case ?1
    when 'user' then exists (select 1 from users where name = ?2)
    when 'producer' then exists (select 1 from producers where name = ?2)
    else exists (select 1 from consumers where name = ?2)
end
