select outcome, failed, causes, lease_us, news from eventflow.queue_settle_v1($1, $2, $3, $4, $5, $6, $7)
