-- Events never change: no code path does it, and these triggers refuse it to everyone else.
-- Only what trimming has given up (up to the topic's `trimmed_to`) can be deleted.

create function eventflow.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'events are immutable: % of %.% is refused', tg_op, tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end $$;

create function eventflow.refuse_delete_of_kept_segments() returns trigger language plpgsql as $$
begin
    if exists (
        select from gone g left join eventflow.topics t on t.id = g.topic_id
        where g.last_offset > coalesce(t.trimmed_to, 0)
    ) then
        raise exception 'events are immutable: only those up to the topic''s trimmed_to can be deleted'
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

create function eventflow.refuse_delete_of_kept_ids() returns trigger language plpgsql as $$
begin
    if exists (
        select from gone g left join eventflow.topics t on t.id = g.topic_id
        where g."offset" > coalesce(t.trimmed_to, 0)
    ) then
        raise exception 'ids are kept as long as their events: only those up to the topic''s trimmed_to can be deleted'
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;

create trigger segments_never_change before update or truncate on eventflow.segments
    for each statement execute function eventflow.refuse_change();
create trigger segments_deleted_by_trimming_only after delete on eventflow.segments
    referencing old table as gone
    for each statement execute function eventflow.refuse_delete_of_kept_segments();

create trigger event_ids_never_change before update or truncate on eventflow.event_ids
    for each statement execute function eventflow.refuse_change();
create trigger event_ids_deleted_by_trimming_only after delete on eventflow.event_ids
    referencing old table as gone
    for each statement execute function eventflow.refuse_delete_of_kept_ids();

update eventflow.schema set version = 3;
