-- MODE_QUEUE: leases, retries and dead letters.
--
-- A lease is one row, not one for each event, since rows that are changed for each event pile up while another
-- session holds a snapshot open. Single events have a row in `pending` only while they wait for another attempt,
-- or for a key that is not free again soon. The newest lease of a consumer carries how far it is, and the events
-- that wait for other keys: a row that was changed in place for that would do so as well. Every function locks the
-- consumer's row first and reads the clock after that.

create sequence eventflow.lease_ids as bigint;

create table eventflow.leases (
    consumer_id int not null,
    lease_id bigint not null,
    token uuid,                                 -- of the request; null: notes how far the consumer is
    stream uuid,                                -- null: of a single call
    server uuid,                                -- lost when it ends; null: on no server
    made timestamptz not null,
    until timestamptz not null,                 -- the first end of those in `offsets`
    ended timestamptz,                          -- nothing was open any more
    live boolean not null,                      -- something is open
    alone boolean not null default false,
    retries boolean not null default false,     -- events among them have a row in `pending`
    offsets bigint[] not null default '{}',     -- open, ascending
    keys bigint[],                              -- of those; null: none has one
    untils timestamptz[],                       -- of those that were extended
    settled bigint[] not null default '{}',
    lost bigint[] not null default '{}',
    -- The consumer, when this was its newest lease.
    dispatched bigint not null,
    floor bigint not null,                      -- no lease before it is live
    held bigint[],                              -- events that wait for their keys, ascending; null: none
    held_keys bigint[],
    waiting bigint not null,                    -- more events that wait for their keys, in `pending`
    due_floor timestamptz not null,             -- nothing is due before
    trim_seen bigint not null,                  -- nothing up to here is pending
    primary key (consumer_id, lease_id)
) with (fillfactor = 50);
alter table eventflow.leases alter offsets set compression lz4;
alter table eventflow.leases alter keys set compression lz4;
alter table eventflow.leases alter settled set compression lz4;
alter table eventflow.leases alter held set compression lz4;
alter table eventflow.leases alter held_keys set compression lz4;
create index leases_live on eventflow.leases (consumer_id, lease_id) where live;

create table eventflow.pending (
    consumer_id int not null,
    "offset" bigint not null,
    key bigint,
    due timestamptz,                            -- null: leased, or waits for its key
    lease_id bigint,                            -- leased again
    alone boolean not null default false,
    waits boolean not null default false,       -- counted in `leases.waiting`
    redriven boolean not null default false,
    attempts int not null,                      -- times that it may have been sent
    error text,
    first_sent timestamptz,
    last_sent timestamptz,
    primary key (consumer_id, "offset")
) with (fillfactor = 80);
create index pending_due on eventflow.pending (consumer_id, due, "offset") where due is not null;
create index pending_key on eventflow.pending (consumer_id, key, "offset") where key is not null;
create index pending_redriven on eventflow.pending (consumer_id, key, "offset") where redriven;

create table eventflow.dead_letters (
    consumer_id int not null,
    "offset" bigint not null,
    key text not null,
    key_hash bigint,
    attempts int not null,
    error text not null,
    cause text not null check (cause in ('max_attempts', 'rejected', 'trimmed')),
    first_sent timestamptz,
    last_sent timestamptz,
    dead_time timestamptz not null,
    primary key (consumer_id, "offset")
);

-- Consumers that were deleted, until the rest of what they had is gone as well.
create table eventflow.deleted_consumers (consumer_id int primary key);

-- What the functions pass on, since a consumer is read once in each of them.
create type eventflow.queue_v1 as (
    consumer int, topic int, trimmed_to bigint, now timestamptz, lease_us bigint, backoff_us bigint[],
    max_attempts bigint, max_in_flight bigint, revision bigint, paused boolean, skipped_to bigint,
    newest bigint, dispatched bigint, floor bigint, holds boolean, waiting bigint, due_floor timestamptz,
    trim_seen bigint
);

-- Locks a consumer and reads it and its newest lease; null if there is none, or it is in the other mode.
create function eventflow.queue_lock_v1(p_consumer int) returns eventflow.queue_v1 language plpgsql volatile as $$
declare
    c record;
    l record;
    q eventflow.queue_v1;
begin
    select k.id, k.topic_id, k.mode, k.queue_lease_us, k.queue_backoff_us, k.queue_max_attempts,
            k.queue_max_in_flight, k.revision, k.paused, k.skipped_to, k.stored
        into c from eventflow.consumers k where k.id = p_consumer for no key update;
    if not found or c.mode <> 'queue' then
        return null;
    end if;
    select n.lease_id, n.dispatched, n.floor, n.held is not null as holds, n.waiting, n.due_floor,
            n.trim_seen, n.made
        into l from eventflow.leases n where n.consumer_id = p_consumer order by n.lease_id desc limit 1;
    q.consumer := c.id;
    q.topic := c.topic_id;
    q.lease_us := c.queue_lease_us;
    q.backoff_us := c.queue_backoff_us;
    q.max_attempts := c.queue_max_attempts;
    q.max_in_flight := c.queue_max_in_flight;
    q.revision := c.revision;
    q.paused := c.paused;
    q.skipped_to := c.skipped_to;
    q.newest := coalesce(l.lease_id, 0);
    q.dispatched := coalesce(l.dispatched, c.stored);
    q.floor := coalesce(l.floor, 0);
    q.holds := coalesce(l.holds, false);
    q.waiting := coalesce(l.waiting, 0);
    q.due_floor := coalesce(l.due_floor, '-infinity');
    q.trim_seen := coalesce(l.trim_seen, 0);
    q.now := greatest(clock_timestamp(), l.made);
    select t.trimmed_to into q.trimmed_to from eventflow.topics t where t.id = q.topic;
    return q;
end $$;

-- The key of an event, from the log; empty if it has none or is gone.
create function eventflow.key_of_v1(p_topic int, p_offset bigint) returns text language plpgsql stable as $$
declare
    found_key text;
begin
    select s.keys[p_offset - s.first_offset + 1] into found_key from eventflow.segments s
        where s.topic_id = p_topic and s.last_offset >= p_offset order by s.last_offset limit 1;
    return coalesce(found_key, '');
end $$;

-- Takes events, in order, out of a lease, settled or lost, and returns their keys.
create function eventflow.queue_take_out_v1(
    p_consumer int, p_lease bigint, p_gone bigint[], p_settled boolean, p_now timestamptz
) returns bigint[] language plpgsql volatile as $$
declare
    l record;
    rest record;
begin
    select n.offsets, n.keys, n.untils, n.until into l
        from eventflow.leases n where n.consumer_id = p_consumer and n.lease_id = p_lease;
    if l.offsets = p_gone then
        update eventflow.leases n
            set offsets = '{}', keys = null, untils = null, live = false, ended = p_now,
                settled = case when p_settled then n.settled || p_gone else n.settled end,
                lost = case when p_settled then n.lost else n.lost || p_gone end
            where n.consumer_id = p_consumer and n.lease_id = p_lease;
        return l.keys;
    end if;
    select coalesce(array_agg(u.o order by u.n) filter (where not u.gone), '{}') as offsets,
            array_agg(u.k order by u.n) filter (where not u.gone) as keys,
            array_agg(coalesce(u.t, l.until) order by u.n) filter (where not u.gone) as untils,
            array_agg(u.k order by u.n) filter (where u.gone) as gone_keys
        into rest
        from (
            select e.o, e.k, e.t, e.n, e.o = any (p_gone) as gone
            from unnest(l.offsets, l.keys, l.untils) with ordinality e(o, k, t, n)
        ) u;
    update eventflow.leases n
        set offsets = rest.offsets,
            keys = case when l.keys is not null then rest.keys end,
            untils = case when l.untils is not null then rest.untils end,
            until = case when l.untils is not null
                then coalesce((select min(t) from unnest(rest.untils) t), n.until) else n.until end,
            live = rest.offsets <> '{}',
            ended = case when rest.offsets = '{}' then p_now end,
            settled = case when p_settled then n.settled || p_gone else n.settled end,
            lost = case when p_settled then n.lost else n.lost || p_gone end
        where n.consumer_id = p_consumer and n.lease_id = p_lease;
    return rest.gone_keys;
end $$;

-- Whether a consumer has any event that was redriven: the order of its keys is a plain one if not.
create function eventflow.queue_has_redriven_v1(p_consumer int) returns boolean language plpgsql stable
    set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    return exists (select from eventflow.pending r where r.consumer_id = p_consumer and r.redriven);
end $$;

-- The keys of these events are free: the lowest event that waits for each of them is due. Before a settled
-- event there is no other of its key but one that was redriven meanwhile. Returns how many are due.
create function eventflow.queue_free_v1(p_consumer int, p_offsets bigint[], p_keys bigint[], p_now timestamptz)
    returns int language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    redriven boolean;
    lowest bigint[];
    freed int;
begin
    if p_keys is null then
        return 0;
    end if;
    redriven := eventflow.queue_has_redriven_v1(p_consumer);
    -- In the order of keys, which one index has only: along the offsets it would pass by all other keys.
    lowest := array(
        select l.o from (
            select least(
                (select a."offset" from eventflow.pending a
                    where a.consumer_id = p_consumer and a.key <= f.k and (a.key, a."offset") >= (f.k, f.o)
                    order by a.key, a."offset" limit 1),
                case when redriven then (select r."offset" from eventflow.pending r
                    where r.consumer_id = p_consumer and r.key = f.k and r.redriven
                    order by r."offset" limit 1) end) as o
            from unnest(p_offsets, p_keys) f(o, k) where f.k is not null offset 0
        ) l where l.o is not null);
    if lowest = '{}' then
        return 0;
    end if;
    update eventflow.pending p set due = p_now
        where p.consumer_id = p_consumer and p.due is null and p.lease_id is null and p."offset" = any (lowest);
    get diagnostics freed = row_count;
    return freed;
end $$;

-- Makes dead letters of pending events. An event that was dead before, and was delivered again since the
-- consumer was moved, has the newer account.
create function eventflow.queue_bury_v1(q eventflow.queue_v1, p_offsets bigint[], p_causes text[])
    returns void language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
begin
    insert into eventflow.dead_letters as d
            (consumer_id, "offset", key, key_hash, attempts, error, cause, first_sent, last_sent, dead_time)
        select q.consumer, p."offset", eventflow.key_of_v1(q.topic, p."offset"), p.key, p.attempts,
                coalesce(p.error, ''), u.c, p.first_sent, p.last_sent, q.now
            from unnest(p_offsets, p_causes) u(o, c)
            join eventflow.pending p on p.consumer_id = q.consumer and p."offset" = u.o
        on conflict (consumer_id, "offset") do update
            set attempts = excluded.attempts, error = excluded.error, cause = excluded.cause,
                first_sent = excluded.first_sent, last_sent = excluded.last_sent, dead_time = excluded.dead_time;
    delete from eventflow.pending p where p.consumer_id = q.consumer and p."offset" = any (p_offsets);
end $$;

-- Takes back events of a lease that was lost, or was given up by its stream. Each is delivered alone next,
-- or, if it was sent as often as may be, is a dead letter. With `p_unsent` it is as if they had never
-- been leased. Returns whether anything is due now.
create function eventflow.queue_take_back_v1(
    q eventflow.queue_v1, p_lease bigint, p_offsets bigint[], p_unsent boolean
) returns boolean language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    made timestamptz;
    o_keys bigint[];
    dead record;
begin
    if p_offsets = '{}' then
        return false;
    end if;
    select n.made into made from eventflow.leases n where n.consumer_id = q.consumer and n.lease_id = p_lease;
    o_keys := eventflow.queue_take_out_v1(q.consumer, p_lease, p_offsets, false, q.now);
    insert into eventflow.pending as p
            (consumer_id, "offset", key, due, alone, attempts, first_sent, last_sent)
        select q.consumer, u.o, u.k, q.now, not p_unsent, case when p_unsent then 0 else 1 end,
                case when not p_unsent then made end, case when not p_unsent then made end
            from unnest(p_offsets, o_keys) u(o, k)
        on conflict (consumer_id, "offset") do update
            set due = q.now, lease_id = null, alone = p.alone or not p_unsent,
                attempts = case when p_unsent then p.attempts - 1 else p.attempts end,
                first_sent = case when p_unsent and p.attempts = 1 then null else p.first_sent end;
    select array_agg(p."offset") as o,
            array_agg(case when p.attempts >= q.max_attempts then 'max_attempts' else 'trimmed' end) as c
        into dead
        from eventflow.pending p
        where p.consumer_id = q.consumer and p."offset" = any (p_offsets)
            and (not p_unsent and p.attempts >= q.max_attempts or p."offset" <= q.trimmed_to);
    if dead.o is not null then
        perform eventflow.queue_bury_v1(q, dead.o, dead.c);
    end if;
    perform eventflow.queue_free_v1(q.consumer, p_offsets, o_keys, q.now);
    return true;
end $$;

-- Takes back what is over: the leases that ended by themselves, and those of servers that are not alive.
create function eventflow.queue_expire_v1(q eventflow.queue_v1) returns boolean language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    l record;
    over bigint[];
    any_over boolean := false;
begin
    for l in
        select o.* from (
            select n.lease_id, n.offsets, n.until, n.untils, n.server is not null and not exists (
                    select from eventflow.servers s where s.id = n.server and s.until > q.now) as abandoned
                from eventflow.leases n
                where n.consumer_id = q.consumer and n.lease_id >= q.floor and n.live
        ) o
        where o.abandoned or o.until <= q.now
        order by o.lease_id
    loop
        if l.abandoned or l.untils is null then
            over := l.offsets;
        else
            over := array(select u.o from unnest(l.offsets, l.untils) with ordinality u(o, t, n)
                where u.t <= q.now order by u.n);
        end if;
        any_over := eventflow.queue_take_back_v1(q, l.lease_id, over, false) or any_over;
    end loop;
    return any_over;
end $$;

-- Notes how far a consumer is, without a lease.
create function eventflow.queue_note_v1(q eventflow.queue_v1, p_held bigint[], p_held_keys bigint[])
    returns bigint language sql volatile
as $$
    insert into eventflow.leases
            (consumer_id, lease_id, made, until, ended, live, dispatched, floor, held, held_keys, waiting, due_floor,
            trim_seen)
        values (q.consumer, nextval('eventflow.lease_ids'), q.now, q.now, q.now, false,
            q.dispatched, q.floor, p_held, p_held_keys, q.waiting, q.due_floor, q.trim_seen)
        returning lease_id
$$;

-- Leases events to takers. See `QueueStore::claim`.
create function eventflow.queue_claim_v1(
    p_consumer int, p_revision bigint, p_server uuid, p_after bigint, p_up_to bigint,
    p_offsets bigint[], p_keys bigint[], p_newest bigint, p_free int[], p_tokens uuid[], p_streams uuid[], p_max int[],
    p_repeated boolean, p_note boolean,
    out outcome text, out newest bigint, out judged boolean, out busy bigint[], out held bigint[],
    out held_keys bigint[], out dispatched bigint, out in_flight int[], out alone_waiting int, out is_full boolean,
    out next_us bigint, out tokens uuid[], out lease_ids bigint[], out remaining_us bigint[], out alones boolean[],
    out counts int[], out offsets bigint[], out attempts int[]
) language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    q eventflow.queue_v1;
    was eventflow.queue_v1;
    live record;
    takers record;
    room bigint;
    rooms int[];
    i int;
    made record;
    due record;
    fresh record;
    share int;
    hungry int;
    first int;
    given int := 0;
    new_lease bigint;
    next_due timestamptz;
    next_end timestamptz;
    next_spill timestamptz;
    lowest bigint;
    holding bigint[];
    holding_keys bigint[];
    was_holding bigint[];
begin
    q := eventflow.queue_lock_v1(p_consumer);
    if q.consumer is null then
        outcome := 'not_found';
        return;
    end if;
    if q.holds then
        select n.held, n.held_keys into holding, holding_keys
            from eventflow.leases n where n.consumer_id = p_consumer and n.lease_id = q.newest;
    end if;
    was_holding := holding;
    judged := q.newest is distinct from p_newest;
    tokens := '{}'; lease_ids := '{}'; remaining_us := '{}'; alones := '{}'; counts := '{}';
    offsets := '{}'; attempts := '{}'; alone_waiting := 0;
    perform eventflow.queue_expire_v1(q);
    if p_repeated then
        for made in
            select n.token, n.lease_id, n.until, n.alone, n.offsets,
                    array(select coalesce(p.attempts, 1) from unnest(n.offsets) with ordinality u(o, n)
                        left join eventflow.pending p on p.consumer_id = p_consumer and p."offset" = u.o
                        order by u.n) as attempts
                from eventflow.leases n
                where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live and n.token = any (p_tokens)
                order by n.lease_id
        loop
            tokens := tokens || made.token;
            lease_ids := lease_ids || made.lease_id;
            remaining_us := remaining_us || greatest(0, extract(epoch from made.until - q.now) * 1000000)::bigint;
            alones := alones || made.alone;
            counts := counts || cardinality(made.offsets);
            offsets := offsets || made.offsets;
            attempts := attempts || made.attempts;
        end loop;
    end if;
    was := q;
    outcome := case when cardinality(tokens) > 0 then 'claimed' when q.revision <> p_revision then 'changed'
        when q.paused then 'paused' else 'claimed' end;

    -- What was trimmed before it was dispatched is counted; what is pending can never be sent.
    if q.trimmed_to > q.dispatched then
        update eventflow.consumers c
            set trimmed_events = c.trimmed_events + q.trimmed_to - greatest(q.dispatched, c.skipped_to),
                skipped_to = greatest(q.trimmed_to, c.skipped_to)
            where c.id = p_consumer and c.skipped_to < q.trimmed_to;
        q.dispatched := q.trimmed_to;
    end if;
    if q.trimmed_to > q.trim_seen then
        i := width_bucket(q.trimmed_to, holding);
        if i > 0 then
            judged := true;
            perform eventflow.queue_spill_v1(q, holding[: i], holding_keys[: i]);
            q.waiting := q.waiting + i;
            holding := nullif(holding[i + 1 :], '{}');
            holding_keys := nullif(holding_keys[i + 1 :], '{}');
        end if;
        select array_agg(p."offset") as o, array_agg(p.key) as k, count(*) filter (where p.waits) as waited
            into due
            from eventflow.pending p
            where p.consumer_id = p_consumer and p."offset" > q.trim_seen and p."offset" <= q.trimmed_to
                and p.lease_id is null;
        if due.o is not null then
            perform eventflow.queue_bury_v1(q, due.o, array_fill('trimmed'::text, array[cardinality(due.o)]));
            -- One of the same key may be leased.
            perform eventflow.queue_free_v1(p_consumer, due.o,
                array(select case when u.k <> all (l.busy) then u.k end
                    from eventflow.queue_busy_v1(q) l(busy), unnest(due.k) with ordinality u(k, n) order by u.n), q.now);
            q.waiting := q.waiting - due.waited;
        end if;
        q.trim_seen := q.trimmed_to;
    end if;

    -- Before the first that is due, nothing has to be looked at again.
    select p.due into next_due from eventflow.pending p
        where p.consumer_id = p_consumer and p.due >= q.due_floor order by p.due limit 1;
    q.due_floor := greatest(q.due_floor, least(next_due, q.now));

    -- Who has what.
    select coalesce(sum(cardinality(n.offsets)), 0) as total, min(n.lease_id) as lowest, min(n.until) as next_end
        into live
        from eventflow.leases n where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live;
    select array_agg(coalesce(h.open, 0)::int order by s.n) as open,
            array_agg(coalesce(h.alone, false) order by s.n) as alone
        into takers
        from unnest(p_streams) with ordinality s(stream, n)
        left join (
            select n.stream, sum(cardinality(n.offsets)) as open, bool_or(n.alone) as alone
            from eventflow.leases n
            where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live
            group by n.stream
        ) h on h.stream = s.stream;
    in_flight := coalesce(takers.open, '{}');
    room := q.max_in_flight - live.total;
    lowest := live.lowest;
    next_end := live.next_end;
    if outcome = 'claimed' and cardinality(tokens) = 0 then
        -- First what must be delivered alone, to those that have nothing.
        for i in 1 .. coalesce(cardinality(p_tokens), 0) loop
            rooms[i] := case when takers.alone[i] then 0 else greatest(p_max[i] - takers.open[i], 0) end;
            continue when room <= 0 or rooms[i] <= 0 or takers.open[i] > 0;
            loop
                select p.* into due from eventflow.pending p
                    where p.consumer_id = p_consumer and p.due >= q.due_floor and p.due <= q.now and p.alone
                    order by p.due, p."offset" limit 1;
                exit when not found;
                exit when not eventflow.queue_waits_v1(p_consumer, due."offset", due.key, holding, holding_keys);
                update eventflow.pending p set due = null where p.consumer_id = p_consumer and p."offset" = due."offset";
            end loop;
            continue when due."offset" is null;
            new_lease := nextval('eventflow.lease_ids');
            update eventflow.pending p
                set due = null, lease_id = new_lease, attempts = p.attempts + 1, last_sent = q.now,
                    first_sent = coalesce(p.first_sent, q.now)
                where p.consumer_id = p_consumer and p."offset" = due."offset";
            insert into eventflow.leases
                    (consumer_id, lease_id, token, stream, server, made, until, live, alone, retries, offsets, keys,
                    dispatched, floor, waiting, due_floor, trim_seen)
                values (p_consumer, new_lease, p_tokens[i], p_streams[i], case when p_streams[i] is not null then p_server end,
                    q.now, eventflow.after_us_v1(q.now, q.lease_us), true, true, true,
                    array[due."offset"], case when due.key is not null then array[due.key] end,
                    q.dispatched, coalesce(lowest, new_lease), q.waiting, q.due_floor, q.trim_seen);
            lowest := coalesce(lowest, new_lease);
            tokens := tokens || p_tokens[i];
            lease_ids := lease_ids || new_lease;
            remaining_us := remaining_us || q.lease_us;
            alones := alones || true;
            counts := counts || 1;
            offsets := offsets || due."offset";
            attempts := attempts || (due.attempts + 1);
            in_flight[i] := in_flight[i] + 1;
            rooms[i] := 0;
            room := room - 1;
            given := given + 1;
        end loop;
        room := greatest(0, least(room, (select coalesce(sum(r), 0) from unnest(rooms) r)));

        -- Then what is due, and what was never delivered.
        select * into due from eventflow.queue_due_v1(q, room, holding, holding_keys);
        q.waiting := q.waiting - due.waited;
        select * into fresh
            from eventflow.queue_fresh_v1(q, room - cardinality(due.offsets), p_after, p_up_to, p_offsets, p_keys,
                due.keys, case when not judged then p_free end, holding, holding_keys);
        judged := fresh.judged;
        busy := fresh.busy;
        q.dispatched := fresh.dispatched;
        holding := fresh.held;
        holding_keys := fresh.held_keys;
        q.waiting := q.waiting + fresh.spilled;
        next_spill := fresh.stuck_until;
        if cardinality(due.offsets) + cardinality(fresh.offsets) > 0 then
            if due.offsets = '{}' then
                select fresh.offsets as o, fresh.keys as k, array_fill(1, array[cardinality(fresh.offsets)]) as a,
                        '{}'::boolean[] as r
                    into made;
            else
                select coalesce(array_agg(u.o order by u.o), '{}') as o, array_agg(u.k order by u.o) as k,
                    array_agg(u.a order by u.o) as a, array_agg(u.r order by u.o) as r
                into made
                from (
                    select d.o, d.k, d.a, d.r from unnest(due.offsets, due.keys, due.numbers, due.retries) d(o, k, a, r)
                    union all select f.o, f.k, 1, false from unnest(fresh.offsets, fresh.keys) f(o, k)
                ) u;
            end if;
            first := 1;
            hungry := (select count(*) from unnest(rooms) r where r > 0);
            -- Those with the least room first, so that the others can take what is left.
            for i in select u.n from unnest(rooms) with ordinality u(r, n) where u.r > 0 order by u.r, u.n loop
                share := least(rooms[i], ceil((cardinality(made.o) - first + 1)::numeric / hungry)::int);
                hungry := hungry - 1;
                exit when share <= 0;
                new_lease := nextval('eventflow.lease_ids');
                insert into eventflow.leases
                        (consumer_id, lease_id, token, stream, server, made, until, live, retries, offsets, keys,
                        dispatched, floor, waiting, due_floor, trim_seen)
                    values (p_consumer, new_lease, p_tokens[i], p_streams[i],
                        case when p_streams[i] is not null then p_server end,
                        q.now, eventflow.after_us_v1(q.now, q.lease_us), true,
                        true = any (made.r[first : first + share - 1]), made.o[first : first + share - 1],
                        case when array_remove(made.k[first : first + share - 1], null) <> '{}'
                            then made.k[first : first + share - 1] end,
                        q.dispatched, coalesce(lowest, new_lease), q.waiting, q.due_floor, q.trim_seen);
                if true = any (made.r[first : first + share - 1]) then
                    update eventflow.pending p
                        set due = null, lease_id = new_lease, attempts = p.attempts + 1, last_sent = q.now,
                            first_sent = coalesce(p.first_sent, q.now)
                        where p.consumer_id = p_consumer and p."offset" = any (made.o[first : first + share - 1]);
                end if;
                lowest := coalesce(lowest, new_lease);
                tokens := tokens || p_tokens[i];
                lease_ids := lease_ids || new_lease;
                remaining_us := remaining_us || q.lease_us;
                alones := alones || false;
                counts := counts || share;
                offsets := offsets || made.o[first : first + share - 1];
                attempts := attempts || made.a[first : first + share - 1];
                in_flight[i] := in_flight[i] + share;
                given := given + share;
                first := first + share;
            end loop;
        end if;
        alone_waiting := (select count(*) from (
            select from eventflow.pending p
                where p.consumer_id = p_consumer and p.due >= q.due_floor and p.due <= q.now and p.alone
                    and not eventflow.queue_waits_v1(p_consumer, p."offset", p.key, holding, holding_keys)
                limit cardinality(p_tokens)) a);
    end if;

    q.floor := coalesce(lowest, q.floor);
    if new_lease is not null then
        update eventflow.leases n
            set dispatched = q.dispatched, floor = q.floor, waiting = q.waiting, due_floor = q.due_floor,
                trim_seen = q.trim_seen, held = holding, held_keys = holding_keys
            where n.consumer_id = p_consumer and n.lease_id = new_lease
                and (holding is not null or (n.dispatched, n.floor, n.waiting, n.trim_seen)
                    is distinct from (q.dispatched, q.floor, q.waiting, q.trim_seen));
    elsif holding is distinct from was_holding or q.waiting <> was.waiting or q.trim_seen > was.trim_seen
        or q.dispatched > was.dispatched and (p_note or q.trimmed_to > was.dispatched)
    then
        new_lease := eventflow.queue_note_v1(q, holding, holding_keys);
    elsif outcome = 'claimed' then
        q.dispatched := was.dispatched;
    end if;
    newest := coalesce(new_lease, q.newest);
    held := holding;
    held_keys := holding_keys;
    dispatched := q.dispatched;
    is_full := live.total + given >= q.max_in_flight;
    -- What is due already waits for room, and for a settlement with that.
    select p.due into next_due from eventflow.pending p
        where p.consumer_id = p_consumer and p.due > q.now order by p.due limit 1;
    if given > 0 then
        next_end := least(next_end, eventflow.after_us_v1(q.now, q.lease_us));
    end if;
    next_us := ceil(extract(epoch from least(next_due, next_end, next_spill) - q.now) * 1000000);
end $$;

-- The keys of what is leased.
create function eventflow.queue_busy_v1(q eventflow.queue_v1) returns bigint[] language sql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
    select array(
        select k from eventflow.leases n, unnest(n.keys) k
        where n.consumer_id = q.consumer and n.lease_id >= q.floor and n.live and k is not null)
$$;

-- Whether an event of this key has to wait for one that was redriven, or is held.
create function eventflow.queue_waits_v1(
    p_consumer int, p_offset bigint, p_key bigint, p_held bigint[], p_held_keys bigint[]
) returns boolean language sql stable
as $$
    select p_key is not null and (
        exists (
            select from eventflow.pending r
            where r.consumer_id = p_consumer and r.key = p_key and r.redriven and r."offset" < p_offset)
        or exists (select from unnest(p_held, p_held_keys) h(o, k) where h.k = p_key and h.o < p_offset))
$$;

-- Takes events that are due, at most `p_room`. Those that were never sent need no row any more. Events of one
-- key are due together only if one of them was redriven; then the later ones go on waiting.
create function eventflow.queue_due_v1(
    q eventflow.queue_v1, p_room bigint, p_held bigint[], p_held_keys bigint[],
    out offsets bigint[], out keys bigint[], out numbers int[], out retries boolean[], out waited bigint
) language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    back bigint[];
    never bigint[];
begin
    while eventflow.queue_has_redriven_v1(q.consumer) loop
        back := array(
            select d.o from (
                select p."offset" as o, p.key as k from eventflow.pending p
                where p.consumer_id = q.consumer and p.due >= q.due_floor and p.due <= q.now and not p.alone
                order by p.due, p."offset" limit p_room
            ) d where eventflow.queue_waits_v1(q.consumer, d.o, d.k, p_held, p_held_keys));
        exit when back = '{}';
        update eventflow.pending p set due = null where p.consumer_id = q.consumer and p."offset" = any (back);
    end loop;
    select coalesce(array_agg(d.o), '{}'), array_agg(d.k), array_agg(d.a + 1), array_agg(d.a > 0 or d.r),
            count(*) filter (where d.counted), array_agg(d.o) filter (where d.a = 0 and not d.r)
        into offsets, keys, numbers, retries, waited, never
        from (
            select p."offset" as o, p.key as k, p.attempts as a, p.redriven as r, p.waits as counted
            from eventflow.pending p
            where p.consumer_id = q.consumer and p.due >= q.due_floor and p.due <= q.now and not p.alone
            order by p.due, p."offset" limit p_room
        ) d;
    if never is not null then
        delete from eventflow.pending p where p.consumer_id = q.consumer and p."offset" = any (never);
    end if;
end $$;

-- Gives events that wait for their keys rows in `pending`.
create function eventflow.queue_spill_v1(q eventflow.queue_v1, p_offsets bigint[], p_keys bigint[])
    returns void language sql volatile
as $$
    insert into eventflow.pending (consumer_id, "offset", key, waits, attempts)
        select q.consumer, u.o, u.k, true, 0 from unnest(p_offsets, p_keys) u(o, k)
$$;

-- Takes events that are held and candidates, at most `p_room`, in order. Candidates whose key is not free are
-- held. When that are too many, those get rows whose key will not be free soon; nothing is taken from the first on
-- that cannot be held (others may get rows at `stuck_until`). By their places, `p_free` are those whose keys are not leased and that come
-- first among those of their key; if that is null, or may not be so any more, it is found out here (`judged`).
create function eventflow.queue_fresh_v1(
    q eventflow.queue_v1, p_room bigint, p_after bigint, p_up_to bigint, p_offsets bigint[], p_keys bigint[],
    p_taken bigint[], p_free int[], inout held bigint[], inout held_keys bigint[],
    out judged boolean, out busy bigint[], out offsets bigint[], out keys bigint[], out dispatched bigint,
    out spilled bigint, out stuck_until timestamptz
) language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = on set enable_nestloop = off set enable_mergejoin = off
    set enable_bitmapscan = off
    set jit = off
as $$
declare
    -- They are written with each claim and judged again by the next.
    max_held constant int := 2048;
    max_waiting constant int := 100000;
    -- A key of a lease that has lasted so long is not free soon.
    long constant interval := '1 second';
    covers boolean := q.dispatched >= p_after and q.dispatched <= p_up_to;
    were_held int := coalesce(cardinality(held), 0);
    seen int;
    all_offsets bigint[];
    all_keys bigint[];
    free int[];
    taken int;
    last int;
    rest record;
    slow int[] := '{}';
    has_pending boolean;
begin
    offsets := '{}';
    dispatched := q.dispatched;
    spilled := 0;
    judged := p_free is null;
    seen := case when covers then width_bucket(q.dispatched, p_offsets) else cardinality(p_offsets) end;
    p_offsets := p_offsets[seen + 1 :];
    p_keys := p_keys[seen + 1 :];
    if p_room <= 0 or held is null and (p_keys is null or not covers) then
        if covers then
            offsets := p_offsets[: p_room];
            dispatched := coalesce(p_offsets[cardinality(offsets) + 1] - 1, p_up_to);
        end if;
        return;
    end if;

    -- By place: of each key that is not taken the first, if nothing of the key is pending before it.
    all_offsets := held || p_offsets;
    all_keys := held_keys || coalesce(p_keys, array_fill(null::bigint, array[cardinality(p_offsets)]));
    judged := p_free is null or seen > 0 or not covers or coalesce(array_remove(p_taken, null) <> '{}', false);
    if judged then
        busy := eventflow.queue_busy_v1(q);
        free := array(
            select min(u.n)::int as n from (
                select 0::bigint as n, b.k from unnest(busy) b(k)
                union all select 0, t.k from unnest(p_taken) t(k)
                union all select e.n, e.k from unnest(all_keys) with ordinality e(k, n)
            ) u where u.k is not null group by u.k having min(u.n) > 0
            union all select e.n::int from unnest(all_keys) with ordinality e(k, n) where e.k is null
            order by n);
    else
        free := p_free;
    end if;
    has_pending := exists (select from eventflow.pending p where p.consumer_id = q.consumer);
    if has_pending then
        -- Looked up key by key, whatever the planner thinks of the table; the newest ones are those that wait.
        free := array(
            select f.n from unnest(free) f(n)
            where all_keys[f.n] is null or (
                select p.key from eventflow.pending p
                where p.consumer_id = q.consumer and p.key >= all_keys[f.n]
                    and (p.key, p."offset") < (all_keys[f.n], all_offsets[f.n])
                order by p.key desc, p."offset" desc limit 1) is null);
    end if;
    taken := least(cardinality(free), p_room);
    last := greatest(were_held, case when taken = p_room then free[taken] else cardinality(all_offsets) end);
    select coalesce(array_agg(u.n), '{}') as places, coalesce(array_agg(u.o), '{}') as offsets,
            coalesce(array_agg(u.k), '{}') as keys
        into rest
        from (
            select e.n::int as n, e.o, e.k
            from unnest(all_offsets[: last], all_keys[: last]) with ordinality e(o, k, n)
            left join unnest(free[: taken]) f(n) on f.n = e.n
            where f.n is null order by e.n
        ) u;
    if cardinality(rest.places) > max_held and (has_pending or exists (
        select from eventflow.leases l
        where l.consumer_id = q.consumer and l.lease_id >= q.floor and l.live and l.made < q.now - long))
    then
        slow := array(
            select e.n::int from unnest(rest.keys) with ordinality e(k, n)
            left join (
                select distinct b.k from eventflow.leases l, unnest(l.keys) b(k)
                where l.consumer_id = q.consumer and l.lease_id >= q.floor and l.live and l.made < q.now - long
            ) s on s.k = e.k
            where s.k is not null or has_pending and (
                select p.key from eventflow.pending p where p.consumer_id = q.consumer and p.key >= e.k and p.key <= e.k
                order by p.key, p."offset" limit 1) is not null
            order by e.n limit greatest(max_waiting - max_held - q.waiting, 0));
        slow := array(select rest.places[s.n] from unnest(slow) s(n));
        select coalesce(array_agg(u.p), '{}') as places, coalesce(array_agg(u.o), '{}') as offsets,
                coalesce(array_agg(u.k), '{}') as keys
            into rest
            from (
                select e.p, e.o, e.k from unnest(rest.places, rest.offsets, rest.keys) e(p, o, k)
                left join unnest(slow) s(p) on s.p = e.p
                where s.p is null order by e.p
            ) u;
    end if;
    if cardinality(rest.places) > max_held then
        if q.waiting + cardinality(slow) < max_waiting - max_held then
            stuck_until := q.now + long;
        end if;
        last := greatest(were_held, rest.places[max_held + 1] - 1);
        taken := least(taken, width_bucket(last, free));
        rest.offsets := rest.offsets[: width_bucket(last, rest.places)];
        rest.keys := rest.keys[: cardinality(rest.offsets)];
    end if;
    slow := slow[: width_bucket(last, slow)];
    spilled := cardinality(slow);
    if spilled > 0 then
        perform eventflow.queue_spill_v1(q, array(select all_offsets[s.p] from unnest(slow) s(p)),
            array(select all_keys[s.p] from unnest(slow) s(p)));
    end if;
    offsets := array(select all_offsets[f.n] from unnest(free[: taken]) f(n));
    keys := array(select all_keys[f.n] from unnest(free[: taken]) f(n));
    held := nullif(rest.offsets, '{}');
    held_keys := nullif(rest.keys, '{}');
    if covers then
        dispatched := coalesce(all_offsets[last + 1] - 1, p_up_to);
    end if;
end $$;

-- When an event is due again after it failed, having been sent so often: after the pause that was asked for, or
-- that of the consumer, give or take a tenth, so that what failed together is not tried again together.
create function eventflow.queue_due_at_v1(q eventflow.queue_v1, p_delay_us bigint, p_attempts int)
    returns timestamptz language sql volatile
as $$
    select eventflow.after_us_v1(q.now, coalesce(p_delay_us,
        (q.backoff_us[greatest(1, least(p_attempts, cardinality(q.backoff_us)))] * (0.9 + 0.2 * random()))::bigint, 0))
$$;

-- Puts back deliveries that failed, to be tried again, or makes dead letters of them.
create function eventflow.queue_put_back_v1(
    q eventflow.queue_v1, p_made timestamptz, p_offsets bigint[], p_keys bigint[], p_kinds int[], p_errors text[],
    p_delays_us bigint[]
) returns void language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    dead record;
begin
    -- What was trimmed was not sent.
    insert into eventflow.pending as p (consumer_id, "offset", key, due, attempts, error, first_sent, last_sent)
        select q.consumer, u.o, u.k, eventflow.queue_due_at_v1(q, u.delay, a.n), a.n, nullif(u.error, ''),
                case when u.kind <> 4 then p_made end, case when u.kind <> 4 then p_made end
            from unnest(p_offsets, p_keys, p_kinds, p_errors, p_delays_us) u(o, k, kind, error, delay)
            left join eventflow.pending r on r.consumer_id = q.consumer and r."offset" = u.o
            cross join lateral (select coalesce(r.attempts, 1) - (u.kind = 4)::int as n) a
        on conflict (consumer_id, "offset") do update
            set lease_id = null, alone = false, due = excluded.due, attempts = excluded.attempts,
                error = coalesce(excluded.error, p.error),
                first_sent = case when excluded.attempts > 0 then p.first_sent end,
                last_sent = case when excluded.attempts > 0 then p.last_sent end;
    select array_agg(p."offset") as o,
            array_agg(case when u.kind = 4 then 'trimmed' when u.kind = 2 then 'rejected'
                when p.attempts >= q.max_attempts then 'max_attempts' else 'trimmed' end) as c
        into dead
        from unnest(p_offsets, p_kinds) u(o, kind)
        join eventflow.pending p on p.consumer_id = q.consumer and p."offset" = u.o
        where u.kind in (2, 4) or p.attempts >= q.max_attempts or p."offset" <= q.trimmed_to;
    if dead.o is not null then
        perform eventflow.queue_bury_v1(q, dead.o, dead.c);
    end if;
end $$;

-- Settles deliveries, which come lease by lease. See `QueueStore::settle`. Kinds: 0 ack, 1 nack, 2 reject,
-- 3 extend, 4 trimmed. Causes of failures: 1 lost, 2 settled before, 3 unknown.
create function eventflow.queue_settle_v1(
    p_consumer int, p_leases bigint[], p_counts int[], p_offsets bigint[], p_kinds int[], p_errors text[],
    p_delays_us bigint[],
    out outcome text, out failed int[], out causes int[], out lease_us bigint, out news boolean
) language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    q eventflow.queue_v1;
    i int;
    first int := 1;
    last int;
    l record;
    bad int[];
    why int[];
    gone bigint[];
    gone_keys bigint[];
    acks bigint[];
    extends bigint[];
    back bigint[];
    kinds int[];
    errors text[];
    delays bigint[];
    frees boolean;
begin
    q := eventflow.queue_lock_v1(p_consumer);
    if q.consumer is null then
        outcome := 'not_found';
        return;
    end if;
    frees := q.waiting > 0 or eventflow.queue_has_redriven_v1(p_consumer);
    outcome := 'settled';
    failed := '{}';
    causes := '{}';
    lease_us := q.lease_us;
    news := eventflow.queue_expire_v1(q) or q.holds or q.max_in_flight <= (
        select coalesce(sum(cardinality(n.offsets)), 0) from eventflow.leases n
        where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live);
    for i in 1 .. coalesce(cardinality(p_leases), 0) loop
        last := first + p_counts[i] - 1;
        select n.offsets, n.keys, n.untils, n.until, n.settled, n.lost, n.retries, n.made into l
            from eventflow.leases n where n.consumer_id = p_consumer and n.lease_id = p_leases[i];
        if found and not l.retries and l.offsets = p_offsets[first : last] and 0 = all (p_kinds[first : last]) then
            gone := l.offsets;
            extends := null;
            back := null;
        else
            select array_agg(u.n order by u.n) filter (where u.cause > 0),
                    array_agg(u.cause order by u.n) filter (where u.cause > 0),
                    array_agg(u.o order by u.o) filter (where u.cause = 0 and u.kind <> 3),
                    array_agg(u.o) filter (where u.cause = 0 and u.kind = 0),
                    array_agg(u.o) filter (where u.cause = 0 and u.kind = 3),
                    array_agg(u.o order by u.o) filter (where u.cause = 0 and u.kind in (1, 2, 4)),
                    array_agg(u.kind order by u.o) filter (where u.cause = 0 and u.kind in (1, 2, 4)),
                    array_agg(u.error order by u.o) filter (where u.cause = 0 and u.kind in (1, 2, 4)),
                    array_agg(u.delay order by u.o) filter (where u.cause = 0 and u.kind in (1, 2, 4))
                into bad, why, gone, acks, extends, back, kinds, errors, delays
                from (
                    select e.o, e.kind, e.error, e.delay, (first + e.n - 1)::int as n,
                        case
                            when e.o = any (l.offsets) then 0
                            when e.o = any (l.settled) then 2
                            when e.o = any (l.lost) then 1
                            when l.made is null and p_leases[i] <= q.newest then 1
                            else 3
                        end as cause
                    from unnest(p_offsets[first : last], p_kinds[first : last], p_errors[first : last],
                        p_delays_us[first : last]) with ordinality e(o, kind, error, delay, n)
                ) u;
            failed := failed || coalesce(bad, '{}');
            causes := causes || coalesce(why, '{}');
        end if;
        if extends is not null then
            update eventflow.leases n
                set untils = x.untils, until = (select min(t) from unnest(x.untils) t)
                from (
                    select array_agg(case when u.o = any (extends)
                            then eventflow.after_us_v1(q.now, q.lease_us) else coalesce(u.t, l.until) end
                            order by u.n) as untils
                    from unnest(l.offsets, l.untils) with ordinality u(o, t, n)
                ) x
                where n.consumer_id = p_consumer and n.lease_id = p_leases[i];
        end if;
        if gone is not null then
            gone_keys := eventflow.queue_take_out_v1(p_consumer, p_leases[i], gone, true, q.now);
            if l.retries and acks is not null then
                delete from eventflow.pending p where p.consumer_id = p_consumer and p."offset" = any (acks);
            end if;
            if back is not null then
                perform eventflow.queue_put_back_v1(q, l.made, back, array(
                    select g.k from unnest(gone, gone_keys) with ordinality g(o, k, n)
                    where g.o = any (back) order by g.n), kinds, errors, delays);
                news := true;
            end if;
            if frees then
                news := eventflow.queue_free_v1(p_consumer, gone, gone_keys, q.now) > 0 or news;
            end if;
        end if;
        first := last + 1;
    end loop;
end $$;

-- Ends the leases of a stream. See `QueueStore::release`.
create function eventflow.queue_release_v1(
    p_consumer int, p_stream uuid, p_unsent_leases bigint[], p_unsent bigint[], p_keep boolean
) returns boolean language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    q eventflow.queue_v1;
    l record;
    unsent bigint[];
    back boolean := false;
begin
    q := eventflow.queue_lock_v1(p_consumer);
    delete from eventflow.connections n where n.consumer_id = p_consumer and n.subscription = p_stream;
    if q.consumer is null then
        return false;
    end if;
    for l in
        select n.lease_id, n.offsets from eventflow.leases n
            where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live and n.stream = p_stream
    loop
        unsent := array(select u.o from unnest(p_unsent_leases, p_unsent) u(l, o)
            where u.l = l.lease_id and u.o = any (l.offsets) order by u.o);
        back := eventflow.queue_take_back_v1(q, l.lease_id, unsent, true) or back;
        if p_keep then
            update eventflow.leases n set server = null
                where n.consumer_id = p_consumer and n.lease_id = l.lease_id;
        else
            unsent := array(select u.o from unnest(l.offsets) u(o) where u.o <> all (unsent) order by u.o);
            back := eventflow.queue_take_back_v1(q, l.lease_id, unsent, false) or back;
        end if;
    end loop;
    return back;
end $$;

-- Notes streams as connections of their consumers, or renews them.
create function eventflow.queue_attend_v1(
    p_consumers int[], p_subscriptions uuid[], p_server uuid, p_server_name text, p_peers text[], p_lease_us bigint
) returns void language sql volatile as $$
    insert into eventflow.connections as n
            (consumer_id, subscription, epoch, server, server_name, peer, connect_time, until)
        select c.id, u.s, 0, p_server, p_server_name, u.p, clock_timestamp(),
                eventflow.after_us_v1(clock_timestamp(), p_lease_us)
            from unnest(p_consumers, p_subscriptions, p_peers) u(c, s, p)
            join eventflow.consumers c on c.id = u.c
            order by c.id, u.s
        on conflict (consumer_id, subscription) do update set until = excluded.until
$$;

-- Where consumers are.
create function eventflow.queue_status_v1(p_consumers int[])
    returns table (consumer_id int, "position" bigint, in_flight bigint, retrying bigint, dead_letters bigint)
    language sql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
    select c.id, coalesce(least(o.lowest, w.lowest, n.held) - 1, n.dispatched, c.stored), o.leased, w.failed + o.over,
            (select count(*) from eventflow.dead_letters d where d.consumer_id = c.id)
        from eventflow.consumers c
        left join lateral (
            select l.dispatched, l.floor, l.held[1] as held from eventflow.leases l
            where l.consumer_id = c.id order by l.lease_id desc limit 1
        ) n on true
        cross join lateral (
            select min(u.o) filter (where not exists (
                    select from eventflow.pending r
                    where r.consumer_id = c.id and r."offset" = u.o and r.redriven)) as lowest,
                count(*) filter (where u.lasts) as leased, count(*) filter (where not u.lasts) as over
            from (
                select e.o, coalesce(e.t, l.until) > clock_timestamp() and (l.server is null or exists (
                    select from eventflow.servers s where s.id = l.server and s.until > clock_timestamp())) as lasts
                from eventflow.leases l, unnest(l.offsets, l.untils) e(o, t)
                where l.consumer_id = c.id and l.lease_id >= coalesce(n.floor, 0) and l.live
            ) u
        ) o
        cross join lateral (
            select min(p."offset") filter (where not p.redriven) as lowest,
                count(*) filter (where p.attempts > 0 and p.lease_id is null) as failed
            from eventflow.pending p where p.consumer_id = c.id
        ) w
        where c.id = any (p_consumers) and c.mode = 'queue'
$$;

-- Puts dead letters back. Those of events that are on their way anyway, since the consumer was moved, are merely
-- forgotten.
create function eventflow.queue_redrive_v1(
    p_consumer int, p_offsets bigint[], p_limit int, p_validate_only boolean,
    out changed bigint, out remaining bigint
) language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    q eventflow.queue_v1;
    chosen bigint[];
    coming bigint[];
    busy bigint[];
begin
    q := eventflow.queue_lock_v1(p_consumer);
    if q.consumer is null then
        changed := 0;
        remaining := 0;
        return;
    end if;
    select count(*) into remaining from eventflow.dead_letters d
        where d.consumer_id = p_consumer and (p_offsets is null or d."offset" = any (p_offsets));
    changed := least(remaining, p_limit);
    remaining := remaining - changed;
    if p_validate_only or changed = 0 then
        return;
    end if;
    chosen := array(select d."offset" from eventflow.dead_letters d
        where d.consumer_id = p_consumer and (p_offsets is null or d."offset" = any (p_offsets))
        order by d."offset" limit p_limit);
    select coalesce(array_agg(u.o), '{}'), coalesce(array_agg(u.k) filter (where u.k is not null), '{}')
        into coming, busy
        from eventflow.leases n, unnest(n.offsets, n.keys) u(o, k)
        where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live;
    coming := coming || (select n.held from eventflow.leases n
        where n.consumer_id = p_consumer and n.lease_id = q.newest);
    insert into eventflow.pending (consumer_id, "offset", key, due, redriven, attempts)
        select p_consumer, d."offset", d.key_hash, case when d.key_hash is null then q.now end, true, 0
            from eventflow.dead_letters d
            where d.consumer_id = p_consumer and d."offset" = any (chosen) and d."offset" <= q.dispatched
                and d."offset" <> all (coming)
        on conflict do nothing;
    update eventflow.pending p set due = q.now
        where p.consumer_id = p_consumer and p.due is null and p.lease_id is null and p."offset" = any (array(
            select (select a."offset" from eventflow.pending a
                where a.consumer_id = p_consumer and a.key <= k.key_hash and (a.key, a."offset") >= (k.key_hash, 0)
                order by a.key, a."offset" limit 1)
            from (
                select distinct d.key_hash from eventflow.dead_letters d
                where d.consumer_id = p_consumer and d."offset" = any (chosen) and d.key_hash is not null
                    and d.key_hash <> all (busy)
            ) k));
    delete from eventflow.dead_letters d where d.consumer_id = p_consumer and d."offset" = any (chosen);
end $$;

-- Forgets dead letters.
create function eventflow.queue_discard_v1(
    p_consumer int, p_offsets bigint[], p_limit int, p_validate_only boolean,
    out changed bigint, out remaining bigint
) language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
begin
    perform from eventflow.consumers c where c.id = p_consumer for no key update;
    if not found then
        changed := 0;
        remaining := 0;
        return;
    end if;
    select count(*) into remaining from eventflow.dead_letters d
        where d.consumer_id = p_consumer and (p_offsets is null or d."offset" = any (p_offsets));
    changed := least(remaining, p_limit);
    remaining := remaining - changed;
    if p_validate_only then
        return;
    end if;
    delete from eventflow.dead_letters d where d.consumer_id = p_consumer and d."offset" = any (array(
        select e."offset" from eventflow.dead_letters e
        where e.consumer_id = p_consumer and (p_offsets is null or e."offset" = any (p_offsets))
        order by e."offset" limit p_limit));
end $$;

-- Removes leases that were settled long ago, what deleted consumers had, and the streams of servers that were
-- killed; whether there may be more.
create function eventflow.queue_sweep_v1(p_limit int) returns boolean language plpgsql volatile
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
    set jit = off
as $$
declare
    c record;
    removed int;
    step int;
    more boolean := false;
begin
    delete from eventflow.connections n where n.until < clock_timestamp() - interval '1 hour'
        and not exists (select from eventflow.consumers k where k.id = n.consumer_id and k.epoch = n.epoch);
    for c in select d.consumer_id as id from eventflow.deleted_consumers d for update skip locked loop
        delete from eventflow.leases n where n.consumer_id = c.id and n.lease_id = any (array(
            select o.lease_id from eventflow.leases o where o.consumer_id = c.id order by o.lease_id limit p_limit));
        get diagnostics removed = row_count;
        delete from eventflow.pending n where n.consumer_id = c.id and n."offset" = any (array(
            select o."offset" from eventflow.pending o where o.consumer_id = c.id order by o."offset" limit p_limit));
        get diagnostics step = row_count;
        removed := removed + step;
        delete from eventflow.dead_letters n where n.consumer_id = c.id and n."offset" = any (array(
            select o."offset" from eventflow.dead_letters o where o.consumer_id = c.id order by o."offset" limit p_limit));
        get diagnostics step = row_count;
        if removed + step = 0 then
            delete from eventflow.deleted_consumers d where d.consumer_id = c.id;
        else
            more := true;
        end if;
    end loop;
    for c in
        select k.id, k.queue_lease_us, n.newest from eventflow.consumers k
            cross join lateral (
                select max(o.lease_id) as newest from eventflow.leases o where o.consumer_id = k.id
            ) n
            where k.mode = 'queue' and n.newest is not null
    loop
        -- They end about in the order in which they were given.
        delete from eventflow.leases n where n.consumer_id = c.id and n.lease_id = any (array(
            select o.lease_id from (
                select e.lease_id, e.ended from eventflow.leases e
                where e.consumer_id = c.id and e.lease_id < c.newest and not e.live
                order by e.lease_id limit p_limit
            ) o where o.ended < eventflow.after_us_v1(clock_timestamp(), -2 * c.queue_lease_us)));
        get diagnostics step = row_count;
        more := more or step >= p_limit;
    end loop;
    return more;
end $$;

-- As version 1; of a consumer in MODE_QUEUE, everything leased or pending is void, and dead letters stay.
create function eventflow.seek_consumer_v2(p_consumer int, p_offset bigint)
    returns eventflow.consumer_rows_v1 language plpgsql volatile as $$
declare
    q eventflow.queue_v1;
begin
    q := eventflow.queue_lock_v1(p_consumer);
    if q.consumer is not null then
        delete from eventflow.pending p where p.consumer_id = p_consumer;
        update eventflow.leases n
            set lost = n.lost || n.offsets, offsets = '{}', keys = null, untils = null, live = false, ended = q.now
            where n.consumer_id = p_consumer and n.lease_id >= q.floor and n.live;
        q.dispatched := p_offset;
        q.waiting := 0;
        perform eventflow.queue_note_v1(q, null, null);
    end if;
    return eventflow.seek_consumer_v1(p_consumer, p_offset);
end $$;

-- As version 1, with the settings of MODE_QUEUE.
create function eventflow.update_consumer_v2(
    p_name text, p_filter jsonb, p_lease_us bigint, p_backoff_us bigint[], p_max_attempts bigint,
    p_max_in_flight bigint
) returns eventflow.consumer_rows_v1 language plpgsql volatile as $$
declare
    changed int;
    consumer eventflow.consumer_rows_v1;
begin
    update eventflow.consumers c
        set revision = c.revision + 1, filter = coalesce(p_filter, c.filter),
            queue_lease_us = coalesce(p_lease_us, c.queue_lease_us),
            queue_backoff_us = coalesce(p_backoff_us, c.queue_backoff_us),
            queue_max_attempts = coalesce(p_max_attempts, c.queue_max_attempts),
            queue_max_in_flight = coalesce(p_max_in_flight, c.queue_max_in_flight)
        where c.name = p_name returning c.id into changed;
    select c.* into consumer from eventflow.consumer_rows_v1 c where c.id = changed;
    return consumer;
end $$;

-- As version 2; what the consumer had in MODE_QUEUE goes in the background.
create function eventflow.delete_consumer_v3(p_name text) returns int language plpgsql volatile as $$
declare
    gone int;
begin
    gone := eventflow.delete_consumer_v2(p_name);
    if gone is not null then
        insert into eventflow.deleted_consumers (consumer_id) values (gone);
    end if;
    return gone;
end $$;

-- As version 1; leases that were given since the backup are beyond all that will be.
create function eventflow.after_restore_v2() returns table (topic text, log_id uuid) language plpgsql volatile as $$
begin
    perform setval('eventflow.lease_ids', nextval('eventflow.lease_ids') + 4294967296);
    return query select * from eventflow.after_restore_v1();
end $$;
revoke execute on function eventflow.after_restore_v2() from public;

-- As version 3, with the tables that came since.
create function eventflow.grant_server_v4(p_role text) returns void language plpgsql volatile as $$
begin
    perform eventflow.grant_server_v3(p_role);
    execute format('revoke execute on function eventflow.grant_server_v4(text) from %I', p_role);
    execute format('grant insert, update, delete on eventflow.leases, eventflow.pending, eventflow.dead_letters,
        eventflow.deleted_consumers to %I', p_role);
end $$;
revoke execute on function eventflow.grant_server_v4(text) from public;

update eventflow.schema set version = 18;
