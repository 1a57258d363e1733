update eventflow.producers set
    description = coalesce($2, description),
    topics = coalesce($3, topics),
    disabled = coalesce($4, disabled)
where name = $1
returning name, description, topics, disabled, create_time
