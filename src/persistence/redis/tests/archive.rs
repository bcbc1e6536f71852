//! What an import gives the store.

use super::*;
use crate::persistence::conformance::restored;

#[tokio::test]
async fn users_rosters_and_messages_come_back() {
    what_is_restored_is_there(&SCRIPTS).await;
}

/// With these scripts.
pub(super) async fn what_is_restored_is_there(scripts: &'static Scripts) {
    let Some(server) = server(&FAST) else { return };
    let engine = open_with(fresh_settings(&server), scripts, LANES).await.expect("it runs");
    restored::what_is_restored_is_there(&*engine).await;
}
