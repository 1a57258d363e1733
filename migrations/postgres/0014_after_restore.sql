-- After a backup was restored, offsets beyond it will be those of other events, and what was handed out
-- since must not be taken for what comes now. For the owner alone: servers may not change a log's name.

-- Gives every topic a new log_id and every consumer a new epoch, beyond all that may have been given since
-- the backup, and frees it.
create function eventflow.after_restore_v1() returns table (topic text, log_id uuid) language plpgsql volatile as $$
begin
    perform setval('eventflow.epochs', nextval('eventflow.epochs') + 4294967296);
    update eventflow.consumers c
        set epoch = nextval('eventflow.epochs'), hold_subscription = null, hold_until = null;
    delete from eventflow.connections;
    return query
        update eventflow.topics t set log_id = gen_random_uuid()
        where t.deleted_time is null returning t.name, t.log_id;
end $$;
revoke execute on function eventflow.after_restore_v1() from public;

update eventflow.schema set version = 14;
