-- Changing, moving and pausing consumers while streams serve them.

alter table eventflow.consumers
    add column revision bigint not null default 0,      -- raised by each change and move
    add column skipped_to bigint not null default 0;    -- trimmed events up to here are counted

create or replace view eventflow.consumer_rows_v1 as
    select c.id, c.name, c.topic_id, t.name as topic, c.mode, c.filter, c.start_from, c.start_offset, c.start_time,
        c.queue_lease_us, c.queue_backoff_us, c.queue_max_attempts, c.queue_max_in_flight,
        c.create_time, c.stored, c.epoch, c.paused, c.trimmed_events, c.revision
    from eventflow.consumers c join eventflow.topics t on t.id = c.topic_id;

-- As version 1, and says what was done to each consumer meanwhile.
create function eventflow.renew_holds_v2(p_consumers int[], p_epochs bigint[], p_lease_us bigint)
    returns table (consumer_id int, epoch bigint, revision bigint, paused boolean) language plpgsql volatile as $$
declare
    new_until timestamptz;
begin
    for consumer_id, epoch in
        select h.consumer_id, h.epoch from unnest(p_consumers, p_epochs) h(consumer_id, epoch) order by 1
    loop
        update eventflow.consumers c set hold_until = eventflow.after_us_v1(clock_timestamp(), p_lease_us)
            where c.id = renew_holds_v2.consumer_id and c.epoch = renew_holds_v2.epoch
                and c.hold_subscription is not null
            returning c.hold_until, c.revision, c.paused into new_until, revision, paused;
        if found then
            update eventflow.connections n set until = new_until
                where n.consumer_id = renew_holds_v2.consumer_id and n.epoch = renew_holds_v2.epoch;
            return next;
        end if;
    end loop;
end $$;

-- Changes a consumer; what is null stays. The row is null if there is none of this name.
create function eventflow.update_consumer_v1(p_name text, p_filter jsonb)
    returns eventflow.consumer_rows_v1 language plpgsql volatile as $$
declare
    changed int;
    consumer eventflow.consumer_rows_v1;
begin
    update eventflow.consumers c
        set revision = c.revision + 1, filter = coalesce(p_filter, c.filter)
        where c.name = p_name returning c.id into changed;
    select c.* into consumer from eventflow.consumer_rows_v1 c where c.id = changed;
    return consumer;
end $$;

-- Stops or restarts delivery; asking for what is so already changes nothing.
create function eventflow.pause_consumer_v1(p_name text, p_paused boolean)
    returns eventflow.consumer_rows_v1 language plpgsql volatile as $$
declare
    consumer eventflow.consumer_rows_v1;
begin
    update eventflow.consumers c set paused = p_paused where c.name = p_name and c.paused <> p_paused;
    select c.* into consumer from eventflow.consumer_rows_v1 c where c.name = p_name;
    return consumer;
end $$;

-- Moves a consumer, also backwards, and takes it from the stream that has it.
create function eventflow.seek_consumer_v1(p_consumer int, p_offset bigint)
    returns eventflow.consumer_rows_v1 language plpgsql volatile as $$
declare
    consumer eventflow.consumer_rows_v1;
begin
    update eventflow.consumers c
        set stored = p_offset, revision = c.revision + 1, epoch = nextval('eventflow.epochs'),
            hold_subscription = null, hold_until = null
        where c.id = p_consumer;
    delete from eventflow.connections n where n.consumer_id = p_consumer;
    select c.* into consumer from eventflow.consumer_rows_v1 c where c.id = p_consumer;
    return consumer;
end $$;

update eventflow.schema set version = 12;
