update eventflow.consumers
set trimmed_events = trimmed_events + greatest(0, $4 - greatest($3 - 1, skipped_to)),
    skipped_to = greatest(skipped_to, $4)
where id = $1 and epoch = $2
