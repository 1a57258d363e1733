-- What was trimmed before it was dispatched, once.
update consumers
set trimmed_events = trimmed_events + ?3 - max(?2, skipped_to), skipped_to = ?3
where id = ?1 and skipped_to < ?3
