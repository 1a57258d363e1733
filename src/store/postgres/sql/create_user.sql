insert into eventflow.users (name, role, disabled, password_hash, create_time)
values ($1, $2, $3, $4, $5)
on conflict (name) do nothing
