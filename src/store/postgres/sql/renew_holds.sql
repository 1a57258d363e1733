-- The update locks each row, and takes the time again for one that it waited for.
with renewed as (
    update eventflow.consumers c set hold_until = eventflow.after_us_v1(clock_timestamp(), $3)
    from unnest($1::int[], $2::bigint[]) held(consumer_id, epoch)
    where c.id = held.consumer_id and c.epoch = held.epoch and c.hold_subscription is not null
    returning c.id, c.epoch, c.hold_until
), connected as (
    update eventflow.connections n set until = r.hold_until
    from renewed r
    where n.consumer_id = r.id and n.epoch = r.epoch
)
select id, epoch from renewed
