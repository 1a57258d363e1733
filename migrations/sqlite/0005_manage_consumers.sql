-- Changing, moving and pausing consumers while streams serve them.

alter table consumers add column revision integer not null default 0;    -- raised by each change and move
alter table consumers add column skipped_to integer not null default 0;  -- trimmed events up to here are counted
