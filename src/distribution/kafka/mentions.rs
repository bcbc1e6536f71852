//! What nodes must hear of conversations that are not open on them: that there is news, not what it is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::distribution::Hint;
use crate::model::ConvId;

/// A conversation is mentioned at most this often, as users are told of it.
const PAUSE: Duration = Duration::from_secs(1);
/// Conversations that are remembered; those that were mentioned long ago make room.
const REMEMBERED_MAX: usize = 10_000;

/// When each conversation was mentioned last, and what is to be said of it next.
#[derive(Debug, Default)]
pub struct Mentions(Mutex<HashMap<ConvId, Mention>>);

#[derive(Debug)]
struct Mention {
    at: Instant,
    next: Option<Hint>,
}

impl Mentions {
    fn all(&self) -> MutexGuard<'_, HashMap<ConvId, Mention>> {
        // No code under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hint, if its conversation may be mentioned now; otherwise it is [`due`](Mentions::due) later, unless a newer one comes.
    pub fn now_or_later(&self, conv: ConvId, hint: Hint, now: Instant) -> Option<Hint> {
        let mut all = self.all();
        if let Some(mention) = all.get_mut(&conv).filter(|mention| mention.is_recent(now)) {
            mention.next = Some(hint);
            return None;
        }
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, mention| mention.next.is_some() || mention.is_recent(now));
        }
        // Where all are recent a mention more does no harm.
        if all.len() < REMEMBERED_MAX {
            all.insert(conv, Mention { at: now, next: None });
        }
        Some(hint)
    }

    /// What had to wait and need not any more.
    pub fn due(&self, now: Instant) -> Vec<Hint> {
        let mut due = Vec::new();
        for mention in self.all().values_mut().filter(|mention| !mention.is_recent(now)) {
            if let Some(hint) = mention.next.take() {
                mention.at = now;
                due.push(hint);
            }
        }
        due
    }
}

impl Mention {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < PAUSE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ChannelName, Epoch, Place, Seq};

    #[test]
    fn each_conversation_is_mentioned_once_a_second_and_the_last_news_is_not_lost() {
        let hint = |number: usize, head: u64| {
            let name = ChannelName::new(&format!("c{number}")).unwrap();
            let place = Arc::new(Place::Channel(name));
            let (conv, epoch) = (place.conv_id(), Epoch::new("e").unwrap());
            (conv, Hint::Head { conv, place, epoch, head: Seq(head) })
        };
        let (mentions, now) = (Mentions::default(), Instant::now());
        let tell = |number, head, after| {
            let (conv, hint) = hint(number, head);
            mentions.now_or_later(conv, hint, now + after).is_some()
        };
        assert!(tell(1, 1, Duration::ZERO));
        assert!(!tell(1, 2, PAUSE / 4));
        assert!(!tell(1, 3, PAUSE / 2));
        assert!(tell(2, 1, PAUSE / 2));
        assert!(mentions.due(now + PAUSE / 2).is_empty());
        assert_eq!(mentions.due(now + PAUSE), [hint(1, 3).1], "the newest");
        assert!(mentions.due(now + 9 * PAUSE).is_empty(), "once");
        for number in 0..2 * REMEMBERED_MAX {
            tell(number, 1, 9 * PAUSE);
        }
        assert!(mentions.all().len() <= REMEMBERED_MAX);
    }
}
