//! The conformance suite: the contract of [`Persistence`](super::Persistence) in cases whose names
//! read as its sentences. It is written against the contract, not against an engine; another
//! engine is one more line at the end.
//!
//! Each case takes names that nobody else has, so that it also runs on a service that others
//! share. Random schedules ([`schedule`]) are compared with a specification ([`model`]); the
//! specification as an engine ([`reference`]) passes the suite, and with each of its flaws it must fail.

mod ack;
mod append;
mod bytes;
pub(crate) mod cassandra;
pub(super) mod dedupe;
pub(super) mod group;
pub(super) mod join;
pub(super) mod judge;
pub(super) mod late;
pub(super) mod list;
pub(super) mod load;
mod local;
pub(crate) mod model;
pub(super) mod open;
pub(super) mod paging;
pub(super) mod player;
mod proof;
pub(crate) mod redis;
pub(crate) mod redis_cluster;
mod reference;
pub(super) mod reopen;
pub(super) mod restored;
mod resume;
pub(crate) mod riak;
pub(crate) mod riak_server;
mod schedule;
pub(crate) mod service;
pub(super) mod subject;
mod unread;

use proptest::test_runner::{RngAlgorithm, TestRng};

use self::cassandra::CassandraFactory;
use self::local::LocalFactory;
use self::redis::RedisFactory;
use self::reference::ReferenceFactory;
use self::riak::RiakFactory;
use super::local::SyncPolicy;

/// Makes one test per case out of lists of cases.
macro_rules! cases {
    ($factory:expr; $($noun:ident: $($case:ident)+;)+) => {
        $(mod $noun {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let subject = conformance::subject::Subject::new($factory).await;
                conformance::$noun::$case(subject).await;
            })+
        })+
    };
}

/// The whole suite against the engines of one factory.
macro_rules! conformance_suite {
    ($engine:ident, $factory:expr) => {
        mod $engine {
            use super::*;
            use crate::persistence::conformance;

            #[test]
            fn random_schedules_are_answered_as_the_specification_says() {
                /// Enough to shrink a schedule of 50 calls to the few that matter.
                const SHRINKS: u32 = 400;
                let schedules = conformance::player::schedules_asked();
                let outcomes: Vec<_> = std::thread::scope(|scope| {
                    let players: Vec<_> = conformance::player::shares(schedules)
                        .map(|share| {
                            scope.spawn(move || {
                                let seed = rand::random::<[u8; 32]>();
                                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
                                conformance::player::play_many($factory, share, SHRINKS, rng)
                            })
                        })
                        .collect();
                    players.into_iter().map(|player| player.join().expect("it ends")).collect()
                });
                for outcome in outcomes {
                    if let Err(failure) = outcome {
                        panic!("{failure}");
                    }
                }
            }

            cases! { $factory;
                append:
                    numbers_are_1_2_3_without_gaps_when_many_append_at_once
                    appends_called_one_after_the_other_are_stored_in_that_order
                    an_append_that_nobody_waits_for_leaves_no_gap
                    a_message_is_stored_as_it_was_sent_and_read_the_same_everywhere
                    the_longest_names_and_contents_are_stored
                    conversations_do_not_mix
                    a_read_that_starts_after_the_answer_shows_the_message
                    what_one_call_returns_is_of_one_moment
                    what_a_reader_has_seen_stays_seen;
                dedupe:
                    a_retry_answers_the_first_outcome_and_its_own_ts_is_ignored
                    the_same_cid_with_another_type_or_content_is_a_conflict
                    the_same_cid_of_another_sender_or_elsewhere_is_another_message
                    racing_retries_store_one_copy
                    of_racing_conflicts_one_is_stored
                    a_cid_is_known_after_ten_thousand_more_messages;
                late:
                    late_is_below_the_highest_ts_before_and_equal_is_not_late
                    ts_0_is_a_time_like_any_other
                    late_can_be_recomputed_from_the_list_of_seq_and_ts
                    without_ts_it_is_now_or_the_highest_ts_and_never_late
                    a_ts_too_far_in_the_future_is_refused_and_leaves_no_trace
                    a_refused_first_message_makes_no_conversation;
                open:
                    an_empty_conversation_has_head_0_and_nothing_else
                    the_page_is_the_newest_by_ts_with_late_ones_in_their_place
                    unread_late_messages_elsewhere_are_shown_beside_the_page_by_seq
                    limit_0_answers_counts_and_no_items
                    more_late_messages_than_fit_are_all_reached_exactly_once
                    late_messages_behind_a_thousand_acknowledged_ones_are_reached;
                unread:
                    unread_is_exact_up_to_the_cap_and_then_more
                    your_own_messages_are_never_unread
                    unread_before_counts_on_time_messages_older_than_the_page
                    unread_before_is_never_0_when_there_is_one;
                ack:
                    acknowledgements_merge_to_their_union
                    ranges_in_any_order_and_overlapping_are_one_union
                    merging_is_the_same_in_every_order_and_in_a_race
                    above_the_head_changes_nothing_at_all
                    too_many_ranges_change_nothing
                    up_to_acknowledges_late_messages_too
                    a_late_message_after_the_acknowledgement_is_unread_however_old
                    the_answer_counts_what_is_unread_now
                    one_users_acknowledgement_is_not_anothers;
                paging:
                    history_is_by_ts_then_seq_in_both_orders
                    both_ends_of_a_range_are_inclusive
                    a_page_says_whether_there_is_more
                    a_start_among_equal_times_goes_on_right_after_it
                    a_start_outside_the_range_is_no_error
                    inserts_while_paging_cause_no_skip_and_no_repeat
                    after_reads_by_number_whatever_the_times
                    a_long_history_is_paged_to_its_beginning;
                bytes:
                    history_pages_hold_as_much_as_fits_and_say_that_there_is_more
                    a_page_that_just_fits_is_complete
                    an_open_holds_items_and_late_ones_within_one_page
                    a_bridge_that_would_be_too_large_is_a_page;
                resume:
                    a_bridge_is_exactly_what_is_missing_by_seq
                    an_empty_conversation_is_resumed_at_0
                    another_epoch_or_a_number_above_the_head_gets_a_page
                    a_gap_above_the_limit_gets_a_page
                    unread_before_is_0_when_resumed
                    unread_late_messages_are_counted_wherever_they_are_when_resumed;
                join:
                    the_first_open_of_a_channel_acknowledges_up_to_its_head_once
                    the_first_open_of_an_empty_channel_starts_at_0_for_good
                    a_direct_chat_starts_at_0
                    racing_first_opens_agree_on_one_start
                    a_crowd_that_joins_a_moving_channel_sees_one_moment_each
                    a_conversation_becomes_yours_once
                    the_first_message_makes_a_direct_chat_both_users_once
                    a_message_names_only_those_who_had_not_opened
                    mutual_is_when_both_have_opened_or_written
                    what_a_first_open_decides_can_be_acknowledged_on;
                group:
                    whoever_makes_a_group_owns_it
                    any_member_invites_and_only_the_owner_removes
                    an_owner_who_leaves_is_followed_by_the_oldest_member
                    a_change_is_seen_at_once_on_every_node
                    only_members_append_and_a_stranger_leaves_no_trace
                    nothing_of_a_removed_user_is_stored_after_the_answer
                    an_append_names_a_roster_of_its_moment_or_a_later_one
                    racing_changes_all_take_effect
                    a_membership_names_the_head_at_which_it_began
                    a_group_becomes_yours_when_you_are_invited
                    a_summary_says_whether_it_was_opened
                    changes_and_messages_take_turns_for_long;
                list:
                    the_index_holds_what_was_opened_or_written_to_but_not_what_is_empty
                    an_entry_has_the_place_and_the_newest_commit_time
                    a_summary_shows_the_highest_seq_and_what_is_unread
                    the_index_holds_the_last_thousand_that_became_yours;
                reopen:
                    everything_survives_a_clean_end
                    everything_that_was_answered_survives_an_engine_that_is_dropped
                    what_was_called_before_a_close_is_stored_or_refused
                    a_closed_engine_stores_nothing_more;
            }
        }
    };
}

conformance_suite!(specification, ReferenceFactory::sound());
conformance_suite!(local_always, LocalFactory::new(SyncPolicy::Always));
conformance_suite!(local_memory, LocalFactory::new(SyncPolicy::Memory));
conformance_suite!(redis_server, RedisFactory::redis());
conformance_suite!(valkey_server, RedisFactory::valkey());
conformance_suite!(redis_three_primaries, RedisFactory::cluster());
conformance_suite!(cassandra_node, CassandraFactory::usual());
conformance_suite!(cassandra_small_buckets, CassandraFactory::small_buckets());
conformance_suite!(riak_node, RiakFactory::node());
conformance_suite!(riak_racing, RiakFactory::racing());
conformance_suite!(riak_lossy, RiakFactory::lossy());

#[cfg(feature = "faults")]
mod faulty;
