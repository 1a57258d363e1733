with created as (
    insert into eventflow.producers (name, description, topics, disabled)
    values ($1, $2, $3, $4)
    on conflict (name) do nothing
    returning create_time
), key as (
    insert into eventflow.api_keys (id, secret_hash, owner_kind, owner_name, create_time, expire_time, revoked)
    select $5, $6, $7, $8, $9, $10, $11 from created
)
select create_time from created
