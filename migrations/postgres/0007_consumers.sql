-- Consumers, who holds them, and the streams that serve them.

-- Every stream that takes a consumer gets the next epoch; none is ever used again.
create sequence eventflow.epochs as bigint;

create table eventflow.consumers (
    id int generated always as identity primary key,
    name text collate "C" not null unique,
    topic_id int not null,
    mode text not null check (mode in ('ordered', 'queue')),
    filter jsonb not null,
    start_from text not null check (start_from in ('earliest', 'head', 'after', 'time')),
    start_offset bigint check ((start_offset is not null) = (start_from = 'after')),
    start_time timestamptz check ((start_time is not null) = (start_from = 'time')),
    queue_lease_us bigint not null,             -- microseconds, as all that end so
    queue_backoff_us bigint[] not null,
    queue_max_attempts bigint not null,
    queue_max_in_flight bigint not null,
    create_time timestamptz not null default clock_timestamp(),
    stored bigint not null,                     -- everything up to here is done
    epoch bigint not null default nextval('eventflow.epochs'),
    paused boolean not null default false,
    trimmed_events bigint not null default 0,
    hold_subscription uuid,                     -- the stream that has it; null: none
    hold_until timestamptz
) with (fillfactor = 50);

create table eventflow.connections (
    consumer_id int not null,
    subscription uuid not null,
    epoch bigint not null,
    server uuid not null,
    server_name text not null,
    peer text not null,
    connect_time timestamptz not null,
    until timestamptz not null,
    primary key (consumer_id, subscription)
) with (fillfactor = 50);

-- A consumer with the name of its topic, as servers read it.
create view eventflow.consumer_rows_v1 as
    select c.id, c.name, c.topic_id, t.name as topic, c.mode, c.filter, c.start_from, c.start_offset, c.start_time,
        c.queue_lease_us, c.queue_backoff_us, c.queue_max_attempts, c.queue_max_in_flight,
        c.create_time, c.stored, c.epoch, c.paused, c.trimmed_events
    from eventflow.consumers c join eventflow.topics t on t.id = c.topic_id;

create function eventflow.after_us_v1(p_from timestamptz, p_us bigint) returns timestamptz language sql stable
as $$ select p_from + p_us * interval '1 microsecond' $$;

-- Takes a consumer for a stream, unless another stream's hold lasts.
create function eventflow.take_hold_v1(
    p_consumer int, p_subscription uuid, p_server uuid, p_server_name text, p_peer text,
    p_take_over boolean, p_lease_us bigint,
    out outcome text, out remaining_us bigint, out consumer eventflow.consumer_rows_v1
) language plpgsql volatile as $$
declare
    held record;
    now timestamptz;
    new_epoch bigint;
begin
    select c.hold_subscription, c.hold_until into held
        from eventflow.consumers c where c.id = p_consumer for no key update;
    if not found then
        outcome := 'not_found';
        return;
    end if;
    now := clock_timestamp();
    if held.hold_subscription <> p_subscription and held.hold_until > now and not p_take_over then
        outcome := 'busy';
        remaining_us := ceil(extract(epoch from held.hold_until - now) * 1000000);
        return;
    end if;
    new_epoch := nextval('eventflow.epochs');
    update eventflow.consumers c
        set epoch = new_epoch, hold_subscription = p_subscription, hold_until = eventflow.after_us_v1(now, p_lease_us)
        where c.id = p_consumer;
    delete from eventflow.connections n where n.consumer_id = p_consumer;
    insert into eventflow.connections
            (consumer_id, subscription, epoch, server, server_name, peer, connect_time, until)
        values (p_consumer, p_subscription, new_epoch, p_server, p_server_name, p_peer, now,
            eventflow.after_us_v1(now, p_lease_us));
    outcome := 'taken';
    select c.* into consumer from eventflow.consumer_rows_v1 c where c.id = p_consumer;
end $$;

-- Renews holds, and returns those that still stand. In the order of ids, so that two calls never wait for
-- each other; one by one, since the planner could do worse. The time is taken anew for each row, and
-- again after waiting for its lock.
create function eventflow.renew_holds_v1(p_consumers int[], p_epochs bigint[], p_lease_us bigint)
    returns table (consumer_id int, epoch bigint) language plpgsql volatile as $$
declare
    new_until timestamptz;
begin
    for consumer_id, epoch in
        select h.consumer_id, h.epoch from unnest(p_consumers, p_epochs) h(consumer_id, epoch) order by 1
    loop
        update eventflow.consumers c set hold_until = eventflow.after_us_v1(clock_timestamp(), p_lease_us)
            where c.id = renew_holds_v1.consumer_id and c.epoch = renew_holds_v1.epoch
                and c.hold_subscription is not null
            returning c.hold_until into new_until;
        if found then
            update eventflow.connections n set until = new_until
                where n.consumer_id = renew_holds_v1.consumer_id and n.epoch = renew_holds_v1.epoch;
            return next;
        end if;
    end loop;
end $$;

-- Moves a consumer's stored offset forward, for its newest epoch only, and never beyond the head.
create function eventflow.commit_offset_v1(
    p_consumer int, p_epoch bigint, p_offset bigint, out outcome text, out stored bigint, out head bigint
) language plpgsql volatile as $$
declare
    current record;
begin
    select c.topic_id, c.epoch, c.stored into current
        from eventflow.consumers c where c.id = p_consumer for no key update;
    if not found then
        outcome := 'not_found';
        return;
    end if;
    if current.epoch <> p_epoch then
        outcome := 'fenced';
        return;
    end if;
    stored := current.stored;
    if p_offset > stored then
        select greatest(t.trimmed_to, eventflow.newest_offset_v1(t.id)) into head
            from eventflow.topics t where t.id = current.topic_id;
        if p_offset > head then
            outcome := 'beyond_head';
            return;
        end if;
        update eventflow.consumers c set stored = p_offset where c.id = p_consumer;
        stored := p_offset;
    end if;
    outcome := 'stored';
end $$;

-- Deletes a consumer with its connections; null if there is none of this name. The consumer's row is
-- locked before its connections are looked for, so that none that is being opened is left behind.
create function eventflow.delete_consumer_v1(p_name text) returns int language plpgsql volatile as $$
declare
    gone int;
begin
    delete from eventflow.consumers c where c.name = p_name returning c.id into gone;
    delete from eventflow.connections n where n.consumer_id = gone;
    return gone;
end $$;

update eventflow.schema set version = 7;
