//! The table against a simple model, over every order of sessions, answers and outages that proptest finds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::table::{Next, Table};
use crate::model::{SessionId, UserName};

#[derive(Debug, Clone)]
enum Event {
    Connect(u8, u8),
    Disconnect(u8, u8),
    /// The server is told; it does it and answers, does it and is not heard, or does not hear.
    Tell(Outcome),
    Back,
    /// The server has lost everything, and says so.
    Lose,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Answered,
    DoneOnly,
    Lost,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let session = || (0..4_u8, 0..3_u8);
    let outcome =
        prop_oneof![Just(Outcome::Answered), Just(Outcome::DoneOnly), Just(Outcome::Lost)];
    let event = prop_oneof![
        4 => session().prop_map(|(user, session)| Event::Connect(user, session)),
        4 => session().prop_map(|(user, session)| Event::Disconnect(user, session)),
        3 => outcome.prop_map(Event::Tell),
        1 => Just(Event::Back),
        1 => Just(Event::Lose),
    ];
    prop::collection::vec(event, 0..60)
}

fn user(number: u8) -> UserName {
    UserName::new(&format!("u{number}")).unwrap()
}

/// The server, the sessions that are here, and what was last told of each user.
#[derive(Default)]
struct World {
    table: Table,
    server: BTreeSet<UserName>,
    here: BTreeMap<UserName, BTreeSet<SessionId>>,
    told: BTreeMap<UserName, bool>,
}

impl World {
    fn follow(&mut self, user: &UserName, next: &Next) {
        if let Next::Guess(online) = next {
            self.told.insert(user.clone(), *online);
        }
    }

    fn tell(&mut self, outcome: Outcome) -> bool {
        let told = self.table.take(2);
        if told.is_empty() {
            return false;
        }
        let mut changed = Vec::new();
        for one in &told {
            let moved = outcome != Outcome::Lost
                && match one.here {
                    true => self.server.insert(one.user.clone()),
                    false => self.server.remove(&one.user),
                };
            if moved || one.tell {
                changed.push((one.user.clone(), one.here));
            }
        }
        if outcome == Outcome::Answered {
            self.table.answered(&told);
            self.told.extend(changed);
        } else {
            self.table.lost(&told);
            self.table.is_gone();
        }
        true
    }

    fn play(&mut self, event: &Event) {
        match *event {
            Event::Connect(name, session) => {
                let (user, session) = (user(name), SessionId::new(&format!("s{session}")).unwrap());
                let next = self.table.add(&user, &session);
                self.here.entry(user.clone()).or_default().insert(session);
                self.follow(&user, &next);
            }
            Event::Disconnect(name, session) => {
                let (user, session) = (user(name), SessionId::new(&format!("s{session}")).unwrap());
                let next = self.table.remove(&user, &session);
                self.here.entry(user.clone()).or_default().remove(&session);
                self.follow(&user, &next);
            }
            Event::Tell(outcome) => drop(self.tell(outcome)),
            Event::Back => self.table.is_back(),
            Event::Lose => {
                // Whoever is in a life that is over is told to have gone.
                for user in std::mem::take(&mut self.server) {
                    self.told.insert(user, false);
                }
                self.table.forget();
            }
        }
    }
}

proptest! {
    #[test]
    fn in_the_end_the_server_has_who_is_here_and_the_last_word_was_true(events in events()) {
        let mut world = World::default();
        for event in &events {
            world.play(event);
            for (user, sessions) in &world.here {
                prop_assert_eq!(world.table.is_here(user), !sessions.is_empty());
            }
        }
        world.table.is_back();
        while world.tell(Outcome::Answered) {}
        let here: BTreeSet<_> =
            world.here.iter().filter(|(_, sessions)| !sessions.is_empty()).map(|(user, _)| user.clone()).collect();
        prop_assert_eq!(&world.server, &here);
        prop_assert_eq!(world.table.stored_count(), Some(here.len()));
        for number in 0..4 {
            let user = user(number);
            let told = world.told.get(&user).copied().unwrap_or(false);
            prop_assert_eq!(told, here.contains(&user), "{}", user);
        }
    }
}

#[test]
fn an_outage_keeps_no_more_in_mind_than_it_says() {
    let mut table = Table::default();
    table.is_gone();
    let session = SessionId::generate();
    for number in 0..30_000 {
        let user = UserName::new(&format!("u{number}")).unwrap();
        assert!(matches!(table.add(&user, &session), Next::Guess(true)));
        assert!(matches!(table.remove(&user, &session), Next::Guess(false)));
    }
    table.is_back();
    let told = table.take(usize::MAX);
    assert_eq!(told.len(), 10_000);
    assert!(told.iter().all(|told| !told.here && told.tell));
}
