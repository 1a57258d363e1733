select to_regnamespace('eventflow') is null as schema_missing, current_user::text as role,
    set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false),
    set_config('client_min_messages', 'warning', false)
