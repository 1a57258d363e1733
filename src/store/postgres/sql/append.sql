select outcome, first_offset, recorded_time, head, known_keys, known_offsets, known_hashes, known_times
from eventflow.append_v2(
    p_topic => $1, p_batch => $2, p_seen => $3, p_expected_head => $4, p_bytes => $5,
    p_ids => $6, p_types => $7, p_keys => $8, p_times => $9, p_producers => $10, p_metas => $11, p_payloads => $12,
    p_id_keys => $13, p_id_hashes => $14, p_id_places => $15)
