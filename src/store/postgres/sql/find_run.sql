-- The segments of the next run, and the link that theirs is chained to; all of this sees one instant.
select t.log_id, t.trimmed_to, l.last_offset as linked_to, l.hash as chain_hash, r.segments,
    s.first_offset, s.last_offset, s.bytes, s.recorded_time, s.recorded_times,
    s.ids, s.types, s.keys, s.times, s.producers, s.metas, s.payloads
from eventflow.topics t
left join lateral (
    select l.last_offset, l.hash from eventflow.links l
    where l.topic_id = t.id order by l.last_offset desc limit 1
) l on true
cross join lateral eventflow.pack_run_v1(
    t.id, greatest(t.trimmed_to, l.last_offset), $2, least($3, t.retention_us / 10)) r
join lateral (
    select s.* from eventflow.segments s
    where s.topic_id = $1 and s.last_offset > greatest(t.trimmed_to, l.last_offset) and s.last_offset <= r.last_offset
    order by s.last_offset
) s on true
where t.id = $1 and t.deleted_time is null
