-- The oldest segments that are trimmed but still there: what the keys of their ids are made of.
select s.last_offset, s.ids, s.producers, s.metas
from eventflow.topics t
join eventflow.segments s on s.topic_id = t.id
where t.id = $1 and s.last_offset > $2 and s.last_offset <= t.trimmed_to
    and s.last_offset <= eventflow.read_end_v1($1, $2, $3, $4)
order by s.last_offset
