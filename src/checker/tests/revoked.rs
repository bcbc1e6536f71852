//! Groups: who was removed sees nothing more.

use super::story::{Story, is_fine, m, opened, trips};
use crate::checker::Anomaly::*;
use crate::history::{Asked, Item, Seen};
use crate::protocol::ErrorCode;

/// Bob reads along, then Ann removes him and writes a third.
fn told(s: &mut Story) -> Vec<Item> {
    s.open("bob", opened(0, "bob", &[]));
    let mut items = s.ann_wrote(2);
    items.iter().for_each(|item| s.pushed("bob", item));
    s.removed("ann", "bob");
    let third = m(3, "c3", "ann");
    s.wrote(&third);
    items.push(third);
    items
}

#[test]
fn a_push_after_the_removal() {
    trips(RevokedLeak, |s| {
        let items = told(s);
        s.pushed("bob", &items[2]);
        s.ends(&items);
    });
    // What was stored before may come late.
    is_fine(|s| {
        s.open("bob", opened(0, "bob", &[]));
        let items = s.ann_wrote(2);
        s.removed("ann", "bob");
        items.iter().for_each(|item| s.pushed("bob", item));
        s.leave("bob");
        s.ends(&items);
    });
}

#[test]
fn a_read_after_the_removal() {
    trips(RevokedLeak, |s| {
        let items = told(s);
        s.read("bob", &items);
        s.leave("bob");
        s.ends(&items);
    });
    // Begun before, answered after, with nothing that came later; and one that is refused.
    is_fine(|s| {
        s.open("bob", opened(0, "bob", &[]));
        let items = s.ann_wrote(2);
        items.iter().for_each(|item| s.pushed("bob", item));
        let send = s.sends("bob", "late", 10);
        s.removed("ann", "bob");
        s.fail(send, ErrorCode::NotFound);
        let open = s.begin("bob2", Asked::Open { limit: 3, resume: None, echo: true, push: true });
        s.fail(open, ErrorCode::NotFound);
        s.leave("bob");
        s.ends(&items);
    });
}

#[test]
fn a_send_or_a_quit_after_the_removal() {
    trips(RevokedLeak, |s| {
        let mut items = told(s);
        s.leave("bob");
        let own = m(4, "own", "bob");
        s.wrote(&own);
        items.push(own);
        s.ends(&items);
    });
    trips(RevokedLeak, |s| {
        let items = told(s);
        s.leave("bob");
        let quit = s.begin("bob", Asked::Quit {});
        s.ok(quit, Seen::Quit {});
        s.ends(&items);
    });
}

#[test]
fn a_quit_ends_a_membership_too() {
    trips(RevokedLeak, |s| {
        let mut items = s.ann_wrote(1);
        let quit = s.begin("bob", Asked::Quit {});
        s.ok(quit, Seen::Quit {});
        s.wrote(&m(2, "c2", "ann"));
        items.push(m(2, "c2", "ann"));
        s.open("bob", opened(2, "bob", &items));
        s.leave("bob");
        s.ends(&items);
    });
}

#[test]
fn an_invitation_that_may_have_come_after_it_excuses() {
    // Answered before the removal began: it does not.
    trips(RevokedLeak, |s| {
        let invite = s.invites("ann", "bob");
        s.ok(invite, Seen::Invite {});
        let items = told(s);
        s.pushed("bob", &items[2]);
        s.ends(&items);
    });
    // It overlaps the removal, it follows, or nobody knows when it came.
    is_fine(|s| {
        let invite = s.invites("ann", "bob");
        let items = told(s);
        s.ok(invite, Seen::Invite {});
        s.pushed("bob", &items[2]);
        s.ends(&items);
    });
    is_fine(|s| {
        let items = told(s);
        let invite = s.invites("ann", "bob");
        s.ok(invite, Seen::Invite {});
        s.pushed("bob", &items[2]);
        s.ends(&items);
    });
    is_fine(|s| {
        let invite = s.invites("ann", "bob");
        s.unknown(invite);
        let items = told(s);
        s.pushed("bob", &items[2]);
        s.ends(&items);
    });
    // One that certainly did not does not.
    trips(RevokedLeak, |s| {
        let items = told(s);
        let invite = s.invites("eve", "bob");
        s.fail(invite, ErrorCode::NotFound);
        s.pushed("bob", &items[2]);
        s.ends(&items);
    });
}

#[test]
fn who_is_invited_again_has_read_what_was_said_meanwhile() {
    is_fine(|s| {
        let items = told(s);
        s.line(1_000_000, super::story::session("bob"), "bob", "C", removed());
        let invite = s.invites("ann", "bob");
        s.ok(invite, Seen::Invite {});
        let mut seen = opened(3, "bob", &items);
        (seen.acked_up_to, seen.unread) = (crate::model::Seq(3), 0);
        seen.unread_before = Some(0);
        s.open("bob", seen);
        s.ends(&items);
    });
}

fn removed() -> crate::history::Act {
    crate::history::Act::Ok { seen: Seen::Removed {} }
}
