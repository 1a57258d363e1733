select c.topic_id, c.queue, c.revision, c.paused, c.skipped_to, t.trimmed_to, coalesce(q.dispatched, c.stored) as dispatched
from consumers c
join topics t on t.id = c.topic_id
left join queues q on q.consumer_id = c.id
where c.id = ? and c.mode = 'queue'
