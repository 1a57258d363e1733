with freed as (
    update eventflow.consumers set hold_subscription = null, hold_until = null
    where hold_subscription is not null
)
delete from eventflow.connections
