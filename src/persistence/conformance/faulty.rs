//! The deliberate faults of an engine are none without a fault, and noticed with each.

use std::sync::Arc;

use async_trait::async_trait;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rstest::rstest;

use super::local::LocalFactory;
use super::player::play_many;
use super::reference::ReferenceFactory;
use super::subject::{Ending, Factory};
use crate::faults::{Fault, FaultyPersistence};
use crate::persistence::Persistence;
use crate::persistence::local::SyncPolicy;

/// Decorated engines over one store.
struct FaultyFactory<F> {
    honest: F,
    fault: Option<Fault>,
}

impl<F: Factory> FaultyFactory<F> {
    fn around(&self, engine: Arc<dyn Persistence>) -> Arc<dyn Persistence> {
        let every = self.fault.map_or(1, |fault| fault.every().min(2));
        Arc::new(FaultyPersistence::new(engine, self.fault, every))
    }
}

#[async_trait]
impl<F: Factory> Factory for FaultyFactory<F> {
    async fn create(&self) -> Arc<dyn Persistence> {
        self.around(self.honest.create().await)
    }

    fn survives(&self) -> bool {
        // What is left of the decorated engine is not known here.
        false
    }

    async fn reopen(&self, engine: Arc<dyn Persistence>, _: Ending) -> Arc<dyn Persistence> {
        engine
    }
}

mod without_a_fault {
    use super::*;

    conformance_suite!(
        decorated_memory,
        FaultyFactory { honest: LocalFactory::new(SyncPolicy::Memory), fault: None }
    );
}

#[rstest]
fn schedules_notice(
    #[values(
        Fault::DropAcked,
        Fault::TrimOldest,
        Fault::DropBatchHalf,
        Fault::Invent,
        Fault::WrongSender,
        Fault::CorruptContent,
        Fault::TruncateStored,
        Fault::ShiftTs,
        Fault::DoubleRetry,
        Fault::ForgetCid,
        Fault::WrongOffset,
        Fault::RetryTs,
        Fault::Disagree,
        Fault::SortBySeq,
        Fault::AnswerEarly,
        Fault::WriteBackwards,
        Fault::SwapSends,
        Fault::StaleRead,
        Fault::SlowIndex,
        Fault::HeadBack,
        Fault::LagClock,
        Fault::HideCause,
        Fault::ShowInBatches,
        Fault::Hole,
        Fault::BurnNumber,
        Fault::ReuseSeq,
        Fault::Overwrite,
        Fault::SkipPageItem,
        Fault::SkipEqualTs,
        Fault::RepeatPageItem,
        Fault::WidenRange,
        Fault::HideGap,
        Fault::PartialResume,
        Fault::MisflagLate,
        Fault::EqualIsLate,
        Fault::ForgetLate,
        Fault::EndLateEarly,
        Fault::LateZombie,
        Fault::OwnLate,
        Fault::ForgetAck,
        Fault::AckLastWins,
        Fault::MisroutePage,
        Fault::LieFail,
        Fault::LieFuture,
        Fault::FalseConflict,
        Fault::ForkContent,
        Fault::ForkOrder,
        Fault::ForkMissing,
        Fault::LeakQueue
    )]
    fault: Fault,
) {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let factory = FaultyFactory { honest: ReferenceFactory::sound(), fault: Some(fault) };
    let failure = play_many(factory, 400, 0, rng);
    assert!(failure.is_err(), "{fault} was not noticed");
}
