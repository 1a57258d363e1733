select place, first_offset, recorded_time
from eventflow.append_many_v1(
    p_topics => $1, p_batches => $2, p_seens => $3, p_bytes => $4, p_ends => $5,
    p_ids => $6, p_types => $7, p_keys => $8, p_times => $9, p_producers => $10, p_metas => $11, p_payloads => $12)
