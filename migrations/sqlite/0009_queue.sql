-- MODE_QUEUE: leases, retries and dead letters. Every event that was dispatched and is not settled has a row.

alter table cluster add column last_lease integer not null default 0;  -- the newest lease that was given

create table queues (
    consumer_id integer primary key,
    dispatched  integer not null  -- every event up to here was dispatched; no row: the consumer's stored offset
) strict;

create table leases (
    lease_id    integer primary key,
    consumer_id integer not null,
    token       blob    not null,  -- of the request
    stream      blob,              -- null: of a single call
    server      blob,              -- lost when it ends; null: on no server
    alone       integer not null,
    ended       integer            -- null: some of its events are open
) strict;
create index leases_by_end on leases (consumer_id, ended);

create table queue_events (
    consumer_id integer not null,
    "offset"    integer not null,
    key         integer,
    lease_id    integer,                     -- null: it is pending
    until       integer,                     -- when its lease ends
    due         integer,                     -- null: leased, or waits for its key
    waits       integer not null default 0,  -- it waits for its key, and was never due
    alone       integer not null default 0,
    redriven    integer not null default 0,
    attempts    integer not null,            -- times that it may have been sent
    error       text,
    first_sent  integer,
    last_sent   integer,
    primary key (consumer_id, "offset")
) strict, without rowid;
create index queue_events_by_key on queue_events (consumer_id, key, "offset") where key is not null;
create index queue_events_busy on queue_events (consumer_id, key) where lease_id is not null;
create index queue_events_due on queue_events (consumer_id, alone, due, "offset") where due is not null;
create index queue_events_leased on queue_events (lease_id) where lease_id is not null;
create index queue_events_until on queue_events (consumer_id, until) where lease_id is not null;
create index queue_events_waiting on queue_events (consumer_id) where waits = 1;

-- What a lease had, and has no more.
create table lease_events (
    lease_id integer not null,
    "offset" integer not null,
    settled  integer not null,  -- 0: lost
    primary key (lease_id, "offset")
) strict, without rowid;

create table dead_letters (
    consumer_id integer not null,
    "offset"    integer not null,
    key         text    not null,
    key_hash    integer,
    attempts    integer not null,
    error       text    not null,
    cause       text    not null check (cause in ('max_attempts', 'rejected', 'trimmed')),
    first_sent  integer,
    last_sent   integer,
    dead_time   integer not null,
    primary key (consumer_id, "offset")
) strict, without rowid;

create table queue_connections (
    consumer_id  integer not null,
    subscription blob    not null,
    server_name  text    not null,
    peer         text    not null,
    connect_time integer not null,
    until        integer not null,
    primary key (consumer_id, subscription)
) strict, without rowid;

-- Consumers that were deleted, until the rest of what they had is gone as well.
create table deleted_consumers (consumer_id integer primary key) strict;
