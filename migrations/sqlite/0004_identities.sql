-- Who may call, and by what credential.

create table users (
    name          text    primary key,
    role          text    not null,
    disabled      integer not null,
    password_hash text,             -- argon2id in PHC format; null: keys only
    create_time   integer not null
) strict, without rowid;

create table producers (
    name        text    primary key,
    description text    not null,
    topics      text    not null,  -- JSON: names, and prefixes that end in *
    disabled    integer not null,
    create_time integer not null
) strict, without rowid;

create table api_keys (
    id          text    primary key,
    secret_hash blob    not null,  -- SHA-256
    owner_kind  text    not null check (owner_kind in ('user', 'producer', 'consumer')),
    owner       text    not null,
    create_time integer not null,
    expire_time integer,           -- null: never
    revoked     integer not null
) strict, without rowid;

create table sessions (
    id           blob    primary key,
    user         text    not null,
    refresh_hash blob    not null,  -- SHA-256
    create_time  integer not null,
    expire_time  integer not null,
    end_time     integer            -- null: it goes on
) strict, without rowid;

create table signing_keys (
    id          text    primary key,
    pkcs8       blob    not null,
    create_time integer not null
) strict, without rowid;
