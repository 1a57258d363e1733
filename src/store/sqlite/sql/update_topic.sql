update topics
set description = coalesce(?1, description),
    retention = iif(?2, ?3, retention),
    retention_bytes = coalesce(?4, retention_bytes),
    sealed = coalesce(?5, sealed)
where name = ?6
