-- With a role of their own, servers cannot change or delete events even if they tried: that is left to
-- the owner's trim functions. Whoever migrates as the owner grants the servers' role what it needs.
create function eventflow.grant_server_v1(p_role text) returns void language plpgsql volatile as $$
begin
    -- Two grants on one table at the same time fail.
    perform pg_advisory_xact_lock(1162233682 /* 'EFGR' */, 0);
    execute format('grant usage on schema eventflow to %I', p_role);
    execute format('grant select on all tables in schema eventflow to %I', p_role);
    execute format('grant usage on all sequences in schema eventflow to %I', p_role);
    execute format('grant execute on all functions in schema eventflow to %I', p_role);
    execute format('revoke execute on function eventflow.grant_server_v1(text) from %I', p_role);
    -- Not `trimmed_to`: what is above it cannot be deleted.
    execute format('grant insert, update (description, retention_us, retention_bytes, sealed, deleted_time)
        on eventflow.topics to %I', p_role);
    execute format('grant insert on eventflow.segments, eventflow.event_ids to %I', p_role);
    execute format('grant insert, update, delete on eventflow.consumers, eventflow.connections,
        eventflow.users, eventflow.producers, eventflow.api_keys, eventflow.sessions, eventflow.signing_keys
        to %I', p_role);
end $$;
revoke execute on function eventflow.grant_server_v1(text) from public;

update eventflow.schema set version = 10;
