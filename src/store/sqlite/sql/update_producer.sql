update producers
set description = coalesce(?1, description),
    topics = coalesce(?2, topics),
    disabled = coalesce(?3, disabled)
where name = ?4
returning *
