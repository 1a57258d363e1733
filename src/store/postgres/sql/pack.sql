select outcome from eventflow.pack_v1(
    p_topic => $1, p_log_id => $2, p_chained_to => $3, p_chain_hash => $4, p_first => $5, p_last => $6,
    p_segments => $7, p_version => $8, p_hash => $9)
