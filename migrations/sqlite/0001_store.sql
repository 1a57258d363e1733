-- What names this store, and which servers may work on it.

create table schema (
    version       integer not null,  -- of this schema
    oldest_server integer not null   -- the oldest schema version whose servers still understand it
) strict;
insert into schema (version, oldest_server) values (1, 1);

create table cluster (
    only_row    integer primary key check (only_row = 1),
    id          blob    not null,           -- UUID, 16 bytes
    create_time integer not null,           -- all times: microseconds since 1970
    last_epoch  integer not null default 0  -- the newest epoch that any consumer was given
) strict;
