-- Who may call: users, producers, their keys, logins, and what signs tokens. No secret is stored but
-- the signing keys; readers of events get no grant on these tables.

create table eventflow.users (
    name text collate "C" primary key,
    role text not null check (role in ('viewer', 'operator', 'admin')),
    disabled boolean not null,
    password_hash text,                         -- argon2id in PHC format; null: keys only
    create_time timestamptz not null
);

create table eventflow.producers (
    name text collate "C" primary key,
    description text not null,
    topics text[] not null,                     -- names, and prefixes that end in *
    disabled boolean not null,
    create_time timestamptz not null default clock_timestamp()
);

create table eventflow.api_keys (
    id text collate "C" primary key,
    secret_hash bytea not null check (length(secret_hash) = 32),
    owner_kind text not null check (owner_kind in ('user', 'producer', 'consumer')),
    owner_name text collate "C" not null,
    create_time timestamptz not null,
    expire_time timestamptz,                    -- null: never
    revoked boolean not null
);
create index api_keys_by_owner on eventflow.api_keys (owner_kind, owner_name);

create table eventflow.sessions (
    id uuid primary key,
    username text collate "C" not null,
    refresh_hash bytea not null check (length(refresh_hash) = 32),
    create_time timestamptz not null,
    expire_time timestamptz not null,
    end_time timestamptz                        -- null: it goes on
);

create table eventflow.signing_keys (
    id text collate "C" primary key,
    pkcs8 bytea not null,
    create_time timestamptz not null
);

-- Keeps a signing key if there is none yet; of several servers at once, one wins.
create function eventflow.add_first_signing_key_v1(p_id text, p_pkcs8 bytea, p_create_time timestamptz)
    returns void language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(1162236747 /* 'EFSK' */, 0);
    insert into eventflow.signing_keys (id, pkcs8, create_time)
        select p_id, p_pkcs8, p_create_time where not exists (select from eventflow.signing_keys);
end $$;

update eventflow.schema set version = 8;
