-- Deleting topics. Its name is free at once; a deleted topic keeps its row until the last of its events is
-- gone, which one server at a time removes in the background.

create index topics_deleted on eventflow.topics (id) where deleted_time is not null;

-- Deletes a topic, unless a consumer is registered on it. The row lock decides against appends, which
-- find no topic after it, and against registrations, which hold the row's key until they are committed.
-- From then on everything of the topic counts as trimmed, so that its segments may go.
create function eventflow.delete_topic_v1(
    p_name text, out outcome text, out topic int, out consumer text
) language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    select t.id into topic
        from eventflow.topics t where t.name = p_name and t.deleted_time is null for update;
    if not found then
        outcome := 'not_found';
        return;
    end if;
    select c.name into consumer
        from eventflow.consumers c where c.topic_id = topic order by c.name limit 1;
    if found then
        outcome := 'in_use';
        return;
    end if;
    update eventflow.topics t
        set deleted_time = clock_timestamp(),
            trimmed_to = greatest(t.trimmed_to, eventflow.newest_offset_v1(t.id))
        where t.id = topic;
    outcome := 'deleted';
end $$;

-- Forgets a deleted topic of which nothing is left.
create function eventflow.forget_topic_v1(p_topic int) returns void language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform eventflow.lock_topic_v1(p_topic);
    if not exists (select from eventflow.segments s where s.topic_id = p_topic) then
        delete from eventflow.topics t where t.id = p_topic and t.deleted_time is not null;
    end if;
end $$;

revoke execute on function eventflow.delete_topic_v1(text) from public;
revoke execute on function eventflow.forget_topic_v1(int) from public;

-- Work that one of the servers does for all, and which one has it for now.
create table eventflow.duties (
    name text primary key,
    server uuid not null,
    until timestamptz not null
) with (fillfactor = 50);

-- Takes a duty, or keeps it for a while longer; whether the server has it now. That of a server which was
-- killed is free when its lease has run out.
create function eventflow.take_duty_v1(p_name text, p_server uuid, p_lease_us bigint)
    returns boolean language plpgsql volatile as $$
declare
    now timestamptz := clock_timestamp();
begin
    insert into eventflow.duties as d (name, server, until)
        values (p_name, p_server, eventflow.after_us_v1(now, p_lease_us))
        on conflict (name) do update set server = excluded.server, until = excluded.until
        where d.server = excluded.server or d.until < now;
    return found;
end $$;

-- As version 2, with the tables that came since.
create function eventflow.grant_server_v3(p_role text) returns void language plpgsql volatile as $$
begin
    perform eventflow.grant_server_v2(p_role);
    execute format('revoke execute on function eventflow.grant_server_v3(text) from %I', p_role);
    execute format('grant insert, update, delete on eventflow.duties to %I', p_role);
end $$;
revoke execute on function eventflow.grant_server_v3(text) from public;

update eventflow.schema set version = 13;
