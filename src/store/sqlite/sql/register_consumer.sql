insert into consumers (name, topic_id, topic, mode, filter, start, queue, create_time, stored, epoch)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
returning *
