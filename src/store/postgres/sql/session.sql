-- One statement sets a new connection up.
select pg_is_in_recovery() as in_recovery,
    -- Which server this is: another cluster, timeline or start is another server. A replica has no
    -- timeline of its own.
    concat_ws('/', (pg_control_system()).system_identifier,
        case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end,
        pg_postmaster_start_time()) as server,
    (select id from eventflow.cluster) as cluster,
    -- A response means: on disk. Whoever chose more than `on` keeps it.
    set_config('synchronous_commit',
        case when current_setting('synchronous_commit') = 'remote_apply' then 'remote_apply' else 'on' end, false),
    set_config('default_transaction_isolation', 'read committed', false),
    -- An append waits for the one before it, which takes milliseconds; who waits longer is told so.
    set_config('lock_timeout', '2s', false),
    -- Every statement of a server is short; one that is not has met something bad.
    set_config('statement_timeout', '10s', false),
    -- No transaction spans a round trip; should one, it must not keep its locks.
    set_config('idle_in_transaction_session_timeout', '10s', false),
    -- Every statement has an index to follow. On new tables, never analysed, the planner would scan,
    -- sort or hash instead, 20 times slower; and the plans need not be made anew for each call.
    set_config('enable_seqscan', 'off', false),
    set_config('enable_bitmapscan', 'off', false),
    set_config('enable_sort', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    -- Where one of these is needed after all, its cost is absurd, and compiling would seem worth it.
    set_config('jit', 'off', false)
