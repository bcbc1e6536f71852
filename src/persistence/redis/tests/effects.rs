//! The suite is proven against the scripts: for each line of a script that has an effect there is a case that
//! fails when the line is left out.

use async_trait::async_trait;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use crate::persistence::conformance::player::play_many;
use crate::persistence::conformance::subject::{Ending, Factory, Subject};
use crate::persistence::conformance::{
    dedupe, group, join, late, list, open as opening, paging, reopen,
};

/// Engines with these scripts over one store.
struct ScriptsFactory {
    settings: RedisSettings,
    scripts: &'static Scripts,
}

#[async_trait]
impl Factory for ScriptsFactory {
    async fn create(&self) -> Arc<dyn Persistence> {
        open_with(self.settings.clone(), self.scripts, LANES).await.expect("the server runs")
    }

    async fn second_node(&self) -> Option<Arc<dyn Persistence>> {
        Some(self.create().await)
    }

    fn survives(&self) -> bool {
        true
    }

    async fn reopen(&self, engine: Arc<dyn Persistence>, ending: Ending) -> Arc<dyn Persistence> {
        if ending == Ending::Closed {
            engine.close().await;
        }
        drop(engine);
        self.create().await
    }
}

/// All scripts but for one effect; they live as long as the test.
fn without(file: &str, effect: &str) -> &'static Scripts {
    Box::leak(Box::new(Scripts::without(file, effect)))
}

/// What becomes of a case, in a task of its own, so that its panic is an answer.
async fn fails(case: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::spawn(case).await.is_err_and(|error| error.is_panic())
}

macro_rules! effects {
    (
        suite { $($file:ident $effect:ident: $noun:ident::$case:ident;)+ }
        lives { $($life_file:ident $life_effect:ident: $life_case:ident;)+ }
        archive { $($archive_file:ident $archive_effect:ident: $archive_case:ident;)+ }
    ) => {
        /// Those that schedules can notice.
        const OF_THE_SUITE: &[(&str, &str)] = &[$((stringify!($file), stringify!($effect))),+];
        /// Those that only a store which came back with less shows.
        const OF_LIVES: &[(&str, &str)] =
            &[$((stringify!($life_file), stringify!($life_effect))),+];
        /// Those of an import.
        const OF_THE_ARCHIVE: &[(&str, &str)] =
            &[$((stringify!($archive_file), stringify!($archive_effect))),+];

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn without_any_one_effect_of_a_script_a_case_fails() {
            let Some(server) = server(&FAST) else { return };
            $({
                let (file, effect) = (stringify!($file), stringify!($effect));
                let run = async |scripts| {
                    let factory = ScriptsFactory { settings: fresh_settings(&server), scripts };
                    fails($noun::$case(Subject::new(factory).await)).await
                };
                assert!(!run(&SCRIPTS).await, "the case for {file}: {effect} must pass as it is");
                assert!(run(without(file, effect)).await, "{file}: {effect} is not missed");
            })+
            $({
                let (file, effect) = (stringify!($life_file), stringify!($life_effect));
                assert!(!fails(lives::$life_case(&SCRIPTS)).await, "{file}: {effect} as it is");
                let broken = fails(lives::$life_case(without(file, effect))).await;
                assert!(broken, "{file}: {effect} is not missed");
            })+
            $({
                let (file, effect) = (stringify!($archive_file), stringify!($archive_effect));
                assert!(!fails(archive::$archive_case(&SCRIPTS)).await, "{file}: {effect} as it is");
                let broken = fails(archive::$archive_case(without(file, effect))).await;
                assert!(broken, "{file}: {effect} is not missed");
            })+
        }
    };
}

effects! {
    suite {
    append message: paging::after_reads_by_number_whatever_the_times;
    append time: paging::history_is_by_ts_then_seq_in_both_orders;
    append late: opening::unread_late_messages_elsewhere_are_shown_beside_the_page_by_seq;
    append cid: dedupe::a_retry_answers_the_first_outcome_and_its_own_ts_is_ignored;
    append head: paging::after_reads_by_number_whatever_the_times;
    append high: late::late_is_below_the_highest_ts_before_and_equal_is_not_late;
    append at: list::an_entry_has_the_place_and_the_newest_commit_time;
    regroup roster: group::whoever_makes_a_group_owns_it;
    regroup came: group::any_member_invites_and_only_the_owner_removes;
    regroup left: group::any_member_invites_and_only_the_owner_removes;
    append joined: join::mutual_is_when_both_have_opened_or_written;
    open joined: join::the_first_open_of_a_channel_acknowledges_up_to_its_head_once;
    ack acked: reopen::everything_survives_a_clean_end;
    lineage life: reopen::everything_survives_a_clean_end;
    }
    lives {
    conversation life: acknowledgements_end_where_an_earlier_life_did;
    lineage format: a_store_of_another_format_is_refused_untouched;
    lineage run_id: a_start_that_lost_nothing_is_remembered;
    }
    archive {
    restore_member joined: what_is_restored_is_there;
    restore_roster member: what_is_restored_is_there;
    restore_roster version: what_is_restored_is_there;
    }
}

#[test]
fn every_effect_of_a_script_is_listed() {
    let (mut marked, mut listed) =
        (Scripts::effects(), [OF_THE_SUITE, OF_LIVES, OF_THE_ARCHIVE].concat());
    marked.sort_unstable();
    listed.sort_unstable();
    assert_eq!(marked, listed);
}

/// Random schedules notice too.
#[test]
#[ignore = "takes minutes; `make soak` runs it"]
#[expect(clippy::print_stdout, reason = "its report")]
fn schedules_notice_effects_that_are_left_out() {
    let Some(server) = server(&FAST) else { return };
    for &(file, effect) in OF_THE_SUITE {
        let factory =
            ScriptsFactory { settings: fresh_settings(&server), scripts: without(file, effect) };
        // Always the same schedules: luck is for finding, not for proving.
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let noticed = play_many(factory, 200, 0, rng);
        println!("{file}: {effect}: {}", if noticed.is_err() { "noticed" } else { "MISSED" });
        assert!(noticed.is_err(), "{file}: {effect} is not missed");
    }
}
