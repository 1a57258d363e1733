-- Topics that were deleted, until the last of their events is gone.
create table deleted_topics (
    id integer primary key
) strict;
