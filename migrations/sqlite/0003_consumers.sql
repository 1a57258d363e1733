-- Consumers, their stored offsets, and the streams that serve them.

create table consumers (
    id             integer primary key autoincrement,  -- never used again
    name           text    not null unique,
    topic_id       integer not null,
    topic          text    not null,                   -- the topic's name
    mode           text    not null,
    filter         text    not null,                   -- JSON
    start          text    not null,                   -- JSON
    queue          text    not null,                   -- JSON
    create_time    integer not null,
    stored         integer not null,                   -- everything up to here is done
    epoch          integer not null,
    held_until     integer,                            -- null: no stream holds it
    paused         integer not null default 0,
    trimmed_events integer not null default 0
) strict;
create index consumers_of_topic on consumers (topic_id, name);

create table connections (
    consumer_id  integer not null,
    epoch        integer not null,
    subscription blob    not null,
    server       blob    not null,
    server_name  text    not null,
    peer         text    not null,
    connect_time integer not null,
    primary key (consumer_id, epoch)
) strict, without rowid;
