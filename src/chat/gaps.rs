//! Conversations whose hints may have been missed, until somebody compares them with the engine.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::distribution::Concerned;
use crate::model::ConvId;

/// What was told since it was looked at last; told of several times, it is looked at once.
#[derive(Debug, Default)]
pub struct Gaps {
    told: Mutex<Vec<Concerned>>,
    wake: Notify,
}

/// What is to be compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Told(Vec<Concerned>);

impl Told {
    /// Whether a conversation is among it.
    pub fn contain(&self, conv: ConvId) -> bool {
        self.0.iter().any(|concerned| concerned.contain(conv))
    }
}

impl Gaps {
    /// Adds some conversations.
    pub fn add(&self, concerned: Concerned) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // A bus that is away tells the same again and again.
        if concerned == Concerned::All {
            told.clear();
        }
        if !told.contains(&concerned) && !told.contains(&Concerned::All) {
            told.push(concerned);
        }
        drop(told);
        self.wake.notify_one();
    }

    /// Waits until there is something, and takes it.
    pub async fn next(&self) -> Told {
        loop {
            let told =
                std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
            if !told.is_empty() {
                return Told(told);
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::distribution::Parts;

    #[tokio::test]
    async fn what_is_told_again_is_taken_once_and_all_swallows_the_rest() {
        let gaps = Gaps::default();
        let part = |number| Concerned::Parts(Arc::new(Parts::new(4, [number].into())));
        gaps.add(part(1));
        gaps.add(part(2));
        gaps.add(part(1));
        assert_eq!(gaps.next().await, Told(vec![part(1), part(2)]));
        gaps.add(part(1));
        gaps.add(Concerned::All);
        gaps.add(part(2));
        assert_eq!(gaps.next().await, Told(vec![Concerned::All]));
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), gaps.next());
        assert!(nothing.await.is_err());
    }
}
