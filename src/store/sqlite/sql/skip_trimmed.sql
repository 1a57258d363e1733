update consumers
set trimmed_events = trimmed_events + max(0, ?4 - max(?3 - 1, skipped_to)),
    skipped_to = max(skipped_to, ?4)
where id = ?1 and epoch = ?2
