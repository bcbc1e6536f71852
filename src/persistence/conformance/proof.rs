//! The suite is itself proven: for each promise that is broken on purpose the case for it fails.

use proptest::test_runner::{RngAlgorithm, TestRng};
use rstest::rstest;

use super::player::play_many;
use super::reference::{Flaw, ReferenceFactory};
use super::subject::Subject;
use super::{ack, bytes, dedupe, join, late, open, paging, resume};

macro_rules! flaws_are_noticed {
    ($($flaw:ident: $noun:ident::$case:ident;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[expect(non_snake_case, reason = "named like the flaw")]
        async fn $flaw() {
            let case = |factory| async {
                let subject = Subject::new(factory).await;
                tokio::spawn($noun::$case(subject)).await
            };
            case(ReferenceFactory::sound()).await.expect("the case passes where nothing is broken");
            let broken = case(ReferenceFactory::with(Flaw::$flaw)).await;
            assert!(broken.is_err_and(|error| error.is_panic()), "the case must notice the flaw");
        })+
    };
}

flaws_are_noticed! {
    EqualIsLate: late::late_is_below_the_highest_ts_before_and_equal_is_not_late;
    ForgetsCids: dedupe::a_retry_answers_the_first_outcome_and_its_own_ts_is_ignored;
    RefusalTakesSeq: late::a_ts_too_far_in_the_future_is_refused_and_leaves_no_trace;
    PagesBySeq: open::the_page_is_the_newest_by_ts_with_late_ones_in_their_place;
    HidesLate: open::unread_late_messages_elsewhere_are_shown_beside_the_page_by_seq;
    AckRegresses: ack::acknowledgements_merge_to_their_union;
    AckTakesPart: ack::above_the_head_changes_nothing_at_all;
    RangeEndIsExclusive: paging::both_ends_of_a_range_are_inclusive;
    StartIsInclusive: paging::inserts_while_paging_cause_no_skip_and_no_repeat;
    IgnoresBytes: bytes::an_open_holds_items_and_late_ones_within_one_page;
    BridgesInPart: resume::a_gap_above_the_limit_gets_a_page;
    IgnoresEpoch: resume::another_epoch_or_a_number_above_the_head_gets_a_page;
    JoinsAgain: join::the_first_open_of_a_channel_acknowledges_up_to_its_head_once;
    BecameEachTime: join::the_first_message_makes_a_direct_chat_both_users_once;
}

/// Random schedules find a broken promise that nobody thought of a case for.
#[rstest]
fn schedules_notice(
    #[values(
        Flaw::EqualIsLate,
        Flaw::ForgetsCids,
        Flaw::RefusalTakesSeq,
        Flaw::PagesBySeq,
        Flaw::HidesLate,
        Flaw::AckRegresses,
        Flaw::AckTakesPart,
        Flaw::RangeEndIsExclusive,
        Flaw::StartIsInclusive,
        Flaw::IgnoresBytes,
        Flaw::BridgesInPart,
        Flaw::IgnoresEpoch,
        Flaw::JoinsAgain,
        Flaw::BecameEachTime
    )]
    flaw: Flaw,
) {
    // Always the same schedules: luck is for finding, not for proving.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let failure = play_many(ReferenceFactory::with(flaw), 800, 0, rng);
    assert!(failure.is_err(), "{flaw:?} was not noticed");
}
