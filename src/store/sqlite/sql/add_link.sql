insert into links (topic_id, first_offset, last_offset, log_id, version, hash, made) values (?, ?, ?, ?, ?, ?, ?)
