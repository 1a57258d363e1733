-- What is due, unless it has to wait for one that was redriven.
select d."offset", d.key, d.attempts, d.waits
from queue_events d
where d.consumer_id = ?1 and d.alone = ?2 and d.due <= ?3 and d.due is not null
  and (d.key is null or not exists (
      select 1 from queue_events o where o.consumer_id = ?1 and o.key = d.key and o."offset" < d."offset"
  ))
order by d.due, d."offset"
limit ?4
