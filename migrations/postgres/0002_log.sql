-- Topics and their logs.

create table eventflow.topics (
    id int generated always as identity primary key,
    log_id uuid not null default gen_random_uuid(),
    name text collate "C" not null,
    description text not null,
    retention_us bigint,                        -- microseconds; null: for ever
    retention_bytes bigint not null,            -- 0: all
    sealed boolean not null,
    create_time timestamptz not null default clock_timestamp(),
    deleted_time timestamptz,                   -- null: it lives
    trimmed_to bigint not null default 0,       -- the last offset that retention removed
    trimmed_time timestamptz                    -- when that event was recorded
) with (fillfactor = 50);
create unique index topics_by_name on eventflow.topics (name) where deleted_time is null;

-- One committed batch is one row. The primary key must stay the only index: the planner would
-- otherwise read a never analysed table by the wrong one.
create table eventflow.segments (
    topic_id int not null,
    bytes int not null,                         -- of events, as the server counts them
    first_offset bigint not null,
    last_offset bigint not null,
    batch uuid,                                 -- names the attempt to append; null once packed
    recorded_time timestamptz not null,         -- of the last event
    recorded_times timestamptz[],               -- null: all equal
    ids text[] not null,
    types text[] not null,
    keys text[] not null,
    times timestamptz[],                        -- null, or a null element: when it was recorded
    producers text[] not null,
    metas jsonb[],                              -- null, or a null element: all by default
    payloads bytea[] not null,
    primary key (topic_id, last_offset),
    check (0 < first_offset and first_offset <= last_offset)
);
alter table eventflow.segments
    alter column recorded_times set compression lz4,
    alter column ids set compression lz4,
    alter column types set compression lz4,
    alter column keys set compression lz4,
    alter column times set compression lz4,
    alter column producers set compression lz4,
    alter column metas set compression lz4,
    alter column payloads set compression lz4;

-- Where the ids that producers gave are. `id_key` begins with the id's own first bytes, so that
-- time-ordered ids go to the right end of the index.
create table eventflow.event_ids (
    topic_id int not null,
    id_key uuid not null,
    "offset" bigint not null,
    content_hash uuid not null,
    primary key (topic_id, id_key)
);

-- Advisory locks: their first half says what kind, the second which one.
create function eventflow.lock_topic_v1(p_topic int) returns void language sql volatile
as $$ select pg_advisory_xact_lock(1162237010 /* 'EFTR' */, p_topic) $$;

update eventflow.schema set version = 2;
