-- The schema's own description, and the name of this cluster.
-- Everything of EventFlow lives in the schema `eventflow`, which the migrator creates.

-- Which schema this is. A server refuses to start if `oldest_server` is beyond its own newest
-- migration, or if `version` is before it. Every migration sets `version` to its own number.
create table eventflow.schema (
    only_row boolean primary key default true check (only_row),
    version int not null,
    oldest_server int not null
);
insert into eventflow.schema (version, oldest_server) values (1, 1);

create table eventflow.cluster (
    only_row boolean primary key default true check (only_row),
    id uuid not null
);
insert into eventflow.cluster (id) values (gen_random_uuid());
