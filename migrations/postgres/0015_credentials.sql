-- How credentials end: refresh tokens that work once, users and producers that change and go, keys that
-- are replaced, signing keys that grow old.
--
-- Whoever gives a credential locks its owner's row, and whoever deletes or disables the owner locks it
-- too: what is deleted or ended afterwards is everything that was given before, and nothing comes later.
-- The order of locks is: the admins, the owner, its sessions and keys.

-- What older servers insert has these defaults, and cannot be refreshed.
alter table eventflow.sessions
    add column family_hash bytea not null default decode(repeat('00', 32), 'hex') check (length(family_hash) = 32),
    add column refresh_expire_time timestamptz not null default '9999-12-31 23:59:59.999999+00';
create index sessions_by_user on eventflow.sessions (username);

alter table eventflow.api_keys add column last_used_time timestamptz;    -- null: not yet; about a minute behind

-- Trades a session's refresh token for the next one. One that was traded before ends the session.
create function eventflow.refresh_session_v1(
    p_id uuid, p_family_hash bytea, p_old_hash bytea, p_new_hash bytea, p_now timestamptz,
    p_refresh_expire_time timestamptz
) returns text language plpgsql volatile as $$
declare
    found_session record;
begin
    select * into found_session from eventflow.sessions s where s.id = p_id for no key update;
    if not found or found_session.family_hash <> p_family_hash then
        return 'unknown';
    end if;
    if found_session.end_time is not null then
        return 'ended';
    end if;
    if found_session.refresh_hash <> p_old_hash then
        update eventflow.sessions s set end_time = p_now where s.id = p_id;
        return 'reused';
    end if;
    if found_session.expire_time <= p_now or found_session.refresh_expire_time <= p_now then
        return 'expired';
    end if;
    update eventflow.sessions s set refresh_hash = p_new_hash, refresh_expire_time = p_refresh_expire_time
        where s.id = p_id;
    return 'renewed';
end $$;

-- Whether a user is the only admin who is enabled. Whoever asks holds the lock below until it is done.
create function eventflow.is_last_admin_v1(p_name text) returns boolean language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(1162232140 /* 'EFAL' */, 0);
    return exists (select from eventflow.users u where u.name = p_name and u.role = 'admin' and not u.disabled)
        and not exists (select from eventflow.users u where u.name <> p_name and u.role = 'admin' and not u.disabled);
end $$;

-- Changes a user; what is null stays. Disabling it ends its sessions.
create function eventflow.update_user_v1(
    p_name text, p_role text, p_disabled boolean, p_now timestamptz, out outcome text, out changed eventflow.users
) language plpgsql volatile as $$
begin
    if (p_role <> 'admin' or p_disabled) and eventflow.is_last_admin_v1(p_name) then
        outcome := 'last_admin';
        return;
    end if;
    update eventflow.users u set role = coalesce(p_role, u.role), disabled = coalesce(p_disabled, u.disabled)
        where u.name = p_name returning u.* into changed;
    if not found then
        outcome := 'not_found';
        return;
    end if;
    if p_disabled then
        update eventflow.sessions s set end_time = p_now where s.username = p_name and s.end_time is null;
    end if;
    outcome := 'changed';
end $$;

-- Deletes a user with its sessions and keys.
create function eventflow.delete_user_v1(p_name text) returns text language plpgsql volatile as $$
begin
    if eventflow.is_last_admin_v1(p_name) then
        return 'last_admin';
    end if;
    delete from eventflow.users u where u.name = p_name;
    if not found then
        return 'not_found';
    end if;
    delete from eventflow.sessions s where s.username = p_name;
    delete from eventflow.api_keys k where k.owner_kind = 'user' and k.owner_name = p_name;
    return 'deleted';
end $$;

-- Replaces a user's password, if it is still the old one or none is given, and ends the user's sessions.
create function eventflow.set_password_v1(p_name text, p_old_hash text, p_new_hash text, p_now timestamptz)
    returns boolean language plpgsql volatile as $$
begin
    update eventflow.users u set password_hash = p_new_hash
        where u.name = p_name and (p_old_hash is null or u.password_hash = p_old_hash);
    if not found then
        return false;
    end if;
    update eventflow.sessions s set end_time = p_now where s.username = p_name and s.end_time is null;
    return true;
end $$;

-- Keeps a session, if its user is enabled and has this password; forgets the user's old ones.
create function eventflow.create_session_v1(
    p_id uuid, p_username text, p_password_hash text, p_family_hash bytea, p_refresh_hash bytea,
    p_create_time timestamptz, p_refresh_expire_time timestamptz, p_expire_time timestamptz
) returns boolean language plpgsql volatile as $$
begin
    perform from eventflow.users u
        where u.name = p_username and not u.disabled and u.password_hash = p_password_hash for share;
    if not found then
        return false;
    end if;
    delete from eventflow.sessions s
        where s.username = p_username and s.expire_time < p_create_time - interval '1 day';
    insert into eventflow.sessions
            (id, username, family_hash, refresh_hash, create_time, refresh_expire_time, expire_time)
        values (p_id, p_username, p_family_hash, p_refresh_hash, p_create_time, p_refresh_expire_time, p_expire_time);
    return true;
end $$;

-- Keeps a key, if its owner exists.
create function eventflow.create_api_key_v1(
    p_id text, p_secret_hash bytea, p_owner_kind text, p_owner_name text, p_create_time timestamptz,
    p_expire_time timestamptz
) returns boolean language plpgsql volatile as $$
begin
    if p_owner_kind = 'user' then
        perform from eventflow.users u where u.name = p_owner_name for key share;
    elsif p_owner_kind = 'producer' then
        perform from eventflow.producers p where p.name = p_owner_name for key share;
    else
        perform from eventflow.consumers c where c.name = p_owner_name for key share;
    end if;
    if not found then
        return false;
    end if;
    insert into eventflow.api_keys (id, secret_hash, owner_kind, owner_name, create_time, expire_time, revoked)
        values (p_id, p_secret_hash, p_owner_kind, p_owner_name, p_create_time, p_expire_time, false);
    return true;
end $$;

-- Keeps a key with the owner of another one, which works no longer than until `p_old_expire_time`.
create function eventflow.rotate_api_key_v1(
    p_old_id text, p_old_expire_time timestamptz, p_id text, p_secret_hash bytea, p_create_time timestamptz,
    p_expire_time timestamptz
) returns boolean language plpgsql volatile as $$
declare
    old record;
begin
    -- A key's owner never changes.
    select k.owner_kind, k.owner_name into old from eventflow.api_keys k where k.id = p_old_id;
    if not found or not eventflow.create_api_key_v1(
        p_id, p_secret_hash, old.owner_kind, old.owner_name, p_create_time, p_expire_time)
    then
        return false;
    end if;
    -- The owner that is locked now may be another one of the same name.
    update eventflow.api_keys k set expire_time = least(k.expire_time, p_old_expire_time) where k.id = p_old_id;
    if found then
        return true;
    end if;
    delete from eventflow.api_keys k where k.id = p_id;
    return false;
end $$;

-- Notes when keys were used; a time never goes back.
create function eventflow.use_api_keys_v1(p_ids text[], p_times timestamptz[])
    returns void language plpgsql volatile as $$
begin
    -- In the order of ids, so that two calls never wait for each other.
    perform from eventflow.api_keys k where k.id = any (p_ids) order by k.id for no key update;
    update eventflow.api_keys k set last_used_time = greatest(k.last_used_time, u.used)
        from unnest(p_ids, p_times) u(id, used) where k.id = u.id;
end $$;

-- Deletes a producer with its keys.
create function eventflow.delete_producer_v1(p_name text) returns boolean language plpgsql volatile as $$
begin
    delete from eventflow.producers p where p.name = p_name;
    if not found then
        return false;
    end if;
    delete from eventflow.api_keys k where k.owner_kind = 'producer' and k.owner_name = p_name;
    return true;
end $$;

-- As version 1, with the consumer's keys.
create function eventflow.delete_consumer_v2(p_name text) returns int language plpgsql volatile as $$
declare
    gone int;
begin
    gone := eventflow.delete_consumer_v1(p_name);
    if gone is not null then
        delete from eventflow.api_keys k where k.owner_kind = 'consumer' and k.owner_name = p_name;
    end if;
    return gone;
end $$;

-- Keeps a signing key if the newest one is as old as `p_due`, or there is none, and forgets those that a
-- key as old as `p_forget` has followed. Of several servers at once, one wins.
create function eventflow.rotate_signing_key_v1(
    p_id text, p_pkcs8 bytea, p_create_time timestamptz, p_due timestamptz, p_forget timestamptz
) returns boolean language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(1162236747 /* 'EFSK', as add_first_signing_key_v1 */, 0);
    delete from eventflow.signing_keys k where exists (
        select from eventflow.signing_keys n where n.create_time > k.create_time and n.create_time <= p_forget);
    if exists (select from eventflow.signing_keys k where k.create_time > p_due) then
        return false;
    end if;
    insert into eventflow.signing_keys (id, pkcs8, create_time) values (p_id, p_pkcs8, p_create_time);
    return true;
end $$;

update eventflow.schema set version = 15;
