-- How credentials end: refresh tokens that work once, and the use of keys.

alter table sessions add column family_hash blob not null
    default x'0000000000000000000000000000000000000000000000000000000000000000';  -- SHA-256
alter table sessions add column refresh_expire_time integer not null default 253402300799999999;
create index sessions_by_user on sessions (user);

alter table api_keys add column last_used_time integer;  -- null: not yet; about a minute behind
create index api_keys_by_owner on api_keys (owner_kind, owner);

-- Older programs insert rows without the new columns.
update schema set version = 2, oldest_server = 2;
