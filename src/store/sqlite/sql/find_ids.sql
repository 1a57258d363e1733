select i.id_key, i."offset", i.content_hash, e.recorded_time
from json_each(?2) wanted
cross join event_ids i on i.topic_id = ?1 and i.id_key = unhex(wanted.value)
cross join events e on e.topic_id = ?1 and e."offset" = i."offset"
