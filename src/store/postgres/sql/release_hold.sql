with freed as (
    update eventflow.consumers set hold_subscription = null, hold_until = null
    where id = $1 and epoch = $2
    returning id, epoch
)
delete from eventflow.connections n using freed f where n.consumer_id = f.id and n.epoch = f.epoch
