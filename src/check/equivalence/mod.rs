//! `check equivalence`: one schedule on every engine must have the same visible result.
//!
//! Pairs of people, each in a conversation of its own, do the same turns, one after the other, on each engine: sends in any order of
//! time, retries and conflicts, opens and resumes, every kind of read, acknowledgements. Each answer is compared but for what is an engine's own:
//! ids, the life of the store, its clock, the words of its cursors.

mod lane;
mod step;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use self::lane::Lane;
use self::step::turns;
use crate::client::{Address, ClientError};

/// Pairs that are at work at once.
const AT_ONCE: usize = 64;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Work {
    /// Pairs of people.
    pub pairs: usize,
    /// Turns of each pair.
    pub turns: usize,
    /// Decides what they do.
    pub seed: u64,
    /// How long one connect may take.
    pub connect_timeout: Duration,
}

/// What everybody was answered on one engine: of each pair, the answers in their order. Pairs that were not begun before the run was stopped
/// are `None`.
pub type Answers = Vec<Option<Vec<String>>>;

/// The first answer in which two engines differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which pair.
    pub pair: usize,
    /// Which of its turns, from 0; one beyond the last is what was pushed.
    pub turn: usize,
    /// What was asked.
    pub asked: String,
    /// What the first engine answered.
    pub one: String,
    /// What the second did.
    pub other: String,
}

impl Work {
    /// Does everything at `address`. `prefix` begins every name. An error is one that says nothing about what was stored: an answer that is
    /// missing, or uncertain.
    pub async fn run(
        &self,
        address: &Address,
        prefix: &str,
        cancel: &CancellationToken,
    ) -> Result<Answers, ClientError> {
        let play = |pair: usize| async move {
            if cancel.is_cancelled() {
                return Ok(None);
            }
            let prefix = format!("{prefix}-{pair}");
            let lane = Lane::enter(address, &prefix, self.connect_timeout).await?;
            lane.play(&turns(self.seed_of(pair), self.turns)).await.map(Some)
        };
        let pairs = stream::iter(0..self.pairs).map(play).buffered(AT_ONCE);
        pairs.collect::<Vec<_>>().await.into_iter().collect()
    }

    /// How many operations that is in all.
    pub fn operations(&self) -> usize {
        self.pairs * self.turns
    }

    fn seed_of(&self, pair: usize) -> u64 {
        self.seed.wrapping_mul(1_000_003).wrapping_add(pair as u64)
    }

    /// Where two engines first differ, pair by pair.
    pub fn compare(&self, one: &Answers, other: &Answers) -> Option<Difference> {
        let both = one.iter().zip(other).enumerate();
        for (pair, (one, other)) in both {
            let (Some(one), Some(other)) = (one, other) else { continue };
            let differs = one.iter().zip(other).position(|(one, other)| one != other);
            let Some(turn) = differs else { continue };
            let asked = turns(self.seed_of(pair), self.turns);
            let asked = asked.get(turn).map_or_else(
                || "what was pushed".to_owned(),
                |turn| format!("{} asks {:?}", ["a", "b"][turn.by], turn.step),
            );
            let (one, other) = (one[turn].clone(), other[turn].clone());
            return Some(Difference { pair, turn, asked, one, other });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let connect_timeout = Duration::from_secs(1);
        let work = Work { pairs: 2, turns: 3, seed: 1, connect_timeout };
        let answers = |last: &str| {
            let texts = |texts: [&str; 4]| Some(texts.map(str::to_owned).to_vec());
            vec![texts(["a", "b", "c", "d"]), texts(["a", "b", "c", last])]
        };
        assert_eq!(work.compare(&answers("d"), &answers("d")), None);
        let found = work.compare(&answers("d"), &answers("e")).unwrap();
        assert_eq!((found.pair, found.turn, found.asked.as_str()), (1, 3, "what was pushed"));
        assert_eq!((found.one.as_str(), found.other.as_str()), ("d", "e"));
    }
}
