update consumers
set held_until = ?1
from json_each(?2) hold
where consumers.id = hold.value ->> 0
  and consumers.epoch = hold.value ->> 1
  and consumers.held_until is not null
returning id, epoch, revision, paused
