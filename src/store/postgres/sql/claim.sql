select outcome, newest, judged, busy, held, held_keys, dispatched, in_flight, alone_waiting, is_full, next_us, tokens,
    lease_ids, remaining_us, alones, counts, offsets, attempts
from eventflow.queue_claim_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
