-- The servers that are alive, as the connections of their streams are, by leases.

create table eventflow.servers (
    id uuid primary key,                        -- another one after each start
    name text not null,                         -- its address
    version text not null,
    start_time timestamptz not null,
    until timestamptz not null
) with (fillfactor = 50);

-- Says that a server lives for a while longer, and forgets those that were killed long ago.
create function eventflow.beat_v1(p_server uuid, p_name text, p_version text, p_lease_us bigint)
    returns void language plpgsql volatile as $$
declare
    now timestamptz := clock_timestamp();
begin
    insert into eventflow.servers as s (id, name, version, start_time, until)
        values (p_server, p_name, p_version, now, eventflow.after_us_v1(now, p_lease_us))
        on conflict (id) do update set until = greatest(s.until, excluded.until);
    delete from eventflow.servers s where s.until < now - interval '1 hour';
end $$;

-- As version 1, with the tables that came since.
create function eventflow.grant_server_v2(p_role text) returns void language plpgsql volatile as $$
begin
    perform eventflow.grant_server_v1(p_role);
    execute format('revoke execute on function eventflow.grant_server_v2(text) from %I', p_role);
    execute format('grant insert, update, delete on eventflow.servers to %I', p_role);
end $$;
revoke execute on function eventflow.grant_server_v2(text) from public;

update eventflow.schema set version = 11;
