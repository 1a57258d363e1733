//! What both stores promise: the contracts written on the traits, case by case.
//!
//! Each case is a test for each store, `contract::sqlite::append::…`. A case brings its own topics and
//! names, so that all of them can also run one after the other on one store, which shows that every
//! statement of an adapter ran.

mod append;
mod before_time;
mod commits;
mod consumers;
mod deleting;
mod fixtures;
mod heads;
mod holds;
mod idempotency;
mod identities;
mod manage;
mod packing;
mod queue;
mod read;
mod read_back;
mod retention;
mod round_trip;
mod servers;
mod together;
mod topics;
mod trim;

use std::sync::Arc;

use eventflow::store::{
    SharedStore, Store,
    postgres::{PostgresOptions, PostgresStore},
    sqlite::SqliteStore,
};

use crate::harness::databases::Database;
use identities::{keys, producers, sessions, signing_keys, users};
use packing::{chaining, histories as packing_histories, merging};
use queue::{burying, claiming, histories, losing, moving, releasing, settling, trimming, waiting, watching};

/// A store in a folder that goes when the test ends.
struct OpenedSqlite {
    store: SharedStore,
    _folder: tempfile::TempDir,
}

async fn sqlite_store() -> OpenedSqlite {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    OpenedSqlite { store: Arc::new(store), _folder: folder }
}

/// A store in a fresh database.
struct OpenedPostgres {
    store: SharedStore,
}

async fn postgres_store() -> OpenedPostgres {
    let database = Database::fresh().await;
    let store = PostgresStore::connect(&PostgresOptions::new(database.url().into())).await.unwrap();
    OpenedPostgres { store: Arc::new(store) }
}

/// Every statement of the adapter must have run: SQL is not checked when it is compiled.
fn check_statements(store: &dyn Store) {
    let counts = store.statement_counts();
    let idle: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    assert!(!counts.is_empty() && idle.is_empty(), "of {} statements these did not run: {idle:?}", counts.len());
}

/// Makes a test of each case for each store.
macro_rules! contract {
    (stores: [$($store:ident = $open:path),+ $(,)?], cases: $cases:tt) => {
        $( contract!(@store $store, $open, $cases); )+
    };
    (@store $store:ident, $open:path, { $($module:ident: [$($case:ident),+ $(,)?]),+ $(,)? }) => {
        mod $store {
            $( mod $module {
                $( #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let opened = $open().await;
                    crate::contract::$module::$case(opened.store.clone()).await;
                    opened.store.close().await;
                } )+
            } )+

            #[tokio::test(flavor = "multi_thread")]
            async fn every_statement_runs() {
                let opened = $open().await;
                $( $( Box::pin(crate::contract::$module::$case(opened.store.clone())).await; )+ )+
                crate::contract::check_statements(&*opened.store);
                opened.store.close().await;
            }
        }
    };
}

contract! {
    stores: [
        sqlite = crate::contract::sqlite_store,
        postgres = crate::contract::postgres_store,
    ],
    cases: {
        // First the cases that need a store without users and signing keys.
        users: [
            of_twenty_creations_of_a_user_one_succeeds,
            of_many_ends_of_all_admins_one_is_refused,
            users_round_trip,
            a_taken_user_name_changes_nothing,
            users_are_listed_in_byte_order,
            changes_touch_what_they_name,
            a_missing_user_is_refused,
            a_deleted_user_takes_its_credentials_along,
            a_new_password_ends_the_sessions,
        ],
        signing_keys: [signing_keys_follow_each_other],
        sessions: [
            sessions_end_once,
            a_session_needs_its_user_and_the_password,
            old_sessions_are_forgotten,
            a_refresh_token_works_once,
            a_refresh_token_ends_by_itself,
            of_twenty_trades_of_a_token_one_succeeds,
        ],
        keys: [
            api_keys_round_trip,
            an_api_key_id_is_used_once,
            a_key_needs_its_owner,
            no_key_outlives_its_owner,
            api_keys_are_listed_by_owner,
            a_rotated_key_goes_on_for_a_while,
            a_revoked_key_stays_revoked,
            the_last_use_of_keys_is_noted,
        ],
        producers: [
            producers_come_with_their_key_or_not_at_all,
            producers_are_listed_in_byte_order,
            changes_touch_what_they_name,
            a_deleted_producer_takes_its_keys_along,
        ],
        append: [
            offsets_have_no_gaps_under_concurrency,
            stored_events_are_seen_by_every_later_look,
            topics_count_for_themselves,
            a_missing_topic_is_refused,
            the_expected_head_is_checked,
            of_eight_with_one_expected_head_one_succeeds,
            a_sealed_topic_takes_nothing,
            the_seal_is_looked_at_before_the_expected_head,
            recorded_time_never_decreases,
            appends_go_on_after_some_were_dropped,
            the_store_names_itself,
        ],
        together: [
            appends_to_many_topics_are_each_in_their_own,
            repeats_among_many_are_stored_once,
            a_refusal_among_many_is_of_its_own_batch,
            what_the_store_cannot_take_fails_alone,
            others_are_stored_when_some_leave,
        ],
        idempotency: [
            a_repeated_batch_is_stored_once,
            a_repeated_batch_is_found_behind_others,
            a_repeated_batch_is_found_while_the_first_is_under_way,
            a_batch_is_one_topics_own,
            the_batch_wins_over_ids_seal_and_expected_head,
            known_ids_are_listed_and_nothing_is_stored,
            known_ids_win_over_seal_and_expected_head,
            of_eight_with_one_id_one_is_stored,
            ids_are_found_in_their_topic_only,
            a_thousand_ids_are_found,
            events_without_identity_repeat,
        ],
        round_trip: [
            every_field_comes_back,
            empty_fields_come_back_empty,
            times_come_back_to_the_microsecond,
            payloads_keep_their_kind_and_bytes,
            the_largest_attributes_come_back,
            a_megabyte_comes_back,
            a_thousand_different_events_come_back,
        ],
        read: [
            a_run_is_contiguous_from_anywhere,
            a_cap_of_events_stops_at_a_run,
            a_cap_of_bytes_stops_at_a_run,
            at_least_one_run_is_read,
            nothing_is_after_the_head,
            a_missing_topic_is_none,
            pages_make_up_the_topic,
        ],
        read_back: [
            a_run_ends_anywhere,
            a_cap_of_events_stops_at_a_run,
            a_cap_of_bytes_stops_at_a_run,
            at_least_one_run_is_read,
            nothing_is_before_the_first,
            trimmed_events_are_not_read,
            a_missing_topic_is_none,
            pages_make_up_the_topic,
        ],
        trim: [
            whole_runs_go,
            reads_begin_at_the_oldest_kept,
            offsets_go_on_after_everything_was_trimmed,
            trimming_is_idempotent_and_stops_at_the_head,
            trimmed_ids_may_be_published_anew,
            recorded_time_goes_on_after_trimming,
            many_events_go_while_others_come,
            a_missing_topic_is_none,
        ],
        before_time: [every_time_finds_its_place, an_empty_topic_begins_at_zero, a_missing_topic_is_none],
        heads: [heads_of_many_topics, heads_of_no_topics],
        topics: [
            topics_round_trip,
            a_taken_name_shows_its_topic,
            of_eight_creations_one_succeeds,
            topics_are_listed_in_byte_order,
            prefixes_are_no_patterns,
            changes_touch_what_they_name,
            a_missing_topic_is_none,
        ],
        deleting: [
            nothing_finds_a_deleted_topic,
            a_topic_created_anew_is_another_one,
            a_topic_in_use_stays,
            of_a_deletion_and_a_registration_one_is_refused,
            appends_are_before_the_deletion_or_refused,
            what_a_deleted_topic_left_goes_in_steps,
            a_topic_that_lives_loses_nothing,
            a_missing_topic_is_refused,
        ],
        retention: [
            topics_with_a_retention_are_listed,
            events_go_when_they_are_too_old,
            the_oldest_go_when_there_are_too_many_bytes,
            a_changed_retention_takes_effect,
            the_place_is_found_among_many_runs,
            what_keeps_all_loses_nothing,
        ],
        merging: [
            nobody_notices,
            a_run_is_packed_when_nothing_can_join_it,
            a_run_does_not_span_too_much_time,
            runs_are_full,
            what_changed_meanwhile_is_not_packed,
            an_append_that_was_packed_is_not_repeated,
            retention_keeps_as_much_of_what_was_packed,
        ],
        chaining: [
            topics_with_something_to_pack_are_listed,
            links_come_in_pages,
            trimming_leaves_the_last_link_it_removes,
            of_many_packers_one_packs_a_range,
            a_deleted_topic_leaves_no_links,
        ],
        packing_histories: [random_histories_keep_the_contract],
        consumers: [
            consumers_round_trip,
            a_taken_name_shows_its_consumer,
            a_missing_topic_is_refused,
            consumers_are_listed_in_byte_order,
            a_deleted_consumer_is_gone_and_its_name_free,
        ],
        holds: [
            a_held_consumer_is_busy,
            of_eight_claims_one_succeeds,
            taking_over_fences_the_one_before,
            a_released_consumer_is_free,
            a_stale_release_changes_nothing,
            a_renewed_hold_lasts,
            a_hold_that_ran_out_can_be_taken,
            a_hold_that_ran_out_stands_until_taken,
            many_holds_are_renewed_at_once,
            deleting_ends_the_hold,
            a_consumer_registered_anew_has_newer_epochs,
            clearing_frees_every_consumer,
            connections_are_the_streams_that_serve_now,
            a_missing_consumer_is_refused,
        ],
        manage: [
            a_change_shows_in_the_next_renewal,
            a_pause_shows_in_the_next_renewal,
            a_seek_takes_the_consumer_from_its_stream,
            trimmed_events_count_once,
            a_hold_says_how_long_it_lasts,
        ],
        servers: [living_servers_are_listed, a_server_lives_as_long_as_its_lease, a_duty_has_one_server],
        commits: [
            a_commit_moves_forward_only,
            a_stale_epoch_is_fenced,
            an_offset_beyond_the_head_is_refused,
            fencing_is_looked_at_before_the_head,
            the_stored_offset_outlives_the_hold,
            a_missing_consumer_is_refused,
        ],
        claiming: [
            candidates_are_spread_over_the_takers,
            no_taker_gets_more_than_it_has_room_for,
            no_more_are_in_flight_than_the_consumer_allows,
            single_calls_get_leases,
            what_was_dispatched_is_not_dispatched_again,
            a_range_beside_the_dispatched_offset_is_ignored,
            what_the_filter_leaves_out_is_passed_over,
            a_note_moves_the_position,
            a_repeated_claim_finds_its_leases,
            a_claim_that_knows_too_little_is_refused,
            claims_at_the_same_time_share_the_events,
        ],
        waiting: [
            events_of_a_key_come_one_at_a_time,
            later_events_of_a_key_wait_behind_the_waiting,
            a_retry_holds_its_key,
            a_dead_letter_frees_its_key,
            many_keys_keep_their_order,
            a_key_with_many_events_lets_others_pass,
            so_many_events_wait_and_no_more,
        ],
        settling: [
            an_ack_is_final,
            what_cannot_be_settled_is_named,
            a_nack_comes_again_after_its_delay,
            the_backoff_gives_the_pauses,
            no_retry_comes_early,
            a_rejected_event_is_a_dead_letter,
            the_last_attempt_makes_a_dead_letter,
            only_the_extended_live_on,
            what_was_trimmed_was_not_sent,
        ],
        losing: [
            lost_events_come_alone,
            who_has_something_gets_nothing_lost,
            after_an_answer_events_come_together,
            lost_events_use_up_their_attempts,
            the_leases_of_a_dead_server_are_lost,
            an_extension_does_not_outlive_the_server,
            a_lost_event_holds_its_key,
        ],
        releasing: [
            what_was_not_sent_was_never_leased,
            an_unsent_retry_counts_no_attempt,
            what_was_sent_comes_again_alone,
            what_is_kept_can_be_settled_on_another_stream,
            giving_up_streams_uses_up_attempts,
            a_released_stream_is_no_connection,
        ],
        moving: [
            a_seek_voids_leases_and_retries,
            a_seek_keeps_dead_letters,
            a_seek_may_come_first,
            settings_change_one_by_one,
            fewer_attempts_count_at_once,
            a_pause_stops_deliveries_only,
        ],
        trimming: [
            undispatched_events_are_counted,
            pending_events_become_dead_letters,
            leased_events_are_not_touched_until_they_fail,
            a_trimmed_key_goes_on,
            a_redriven_event_may_be_gone,
        ],
        burying: [
            dead_letters_come_in_pages,
            redriven_events_begin_anew,
            a_redriven_event_may_fail_again,
            some_are_redriven,
            discarded_events_are_gone,
            a_redriven_event_waits_for_its_key,
            redriven_events_keep_their_order,
            what_waits_behind_a_redriven_event_takes_no_room,
            what_is_on_its_way_is_merely_forgotten,
            two_calls_change_each_once,
        ],
        watching: [
            the_status_counts,
            streams_are_connections,
            old_leases_are_swept,
            deleted_consumers_leave_nothing,
            events_are_picked,
        ],
        histories: [random_histories_keep_the_contract],
    }
}
