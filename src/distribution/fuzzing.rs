//! What comes over a bus that others write to.

use super::wire::{Heard, decode, encode};
use crate::model::NodeId;

/// The bytes of a note. One that is read comes back as it was when it is told on.
pub fn hints(input: &[u8]) {
    let (Ok(node), Ok(other)) = (NodeId::new("here"), NodeId::new("there")) else { return };
    let Heard::Note(note) = decode(&node, input) else { return };
    let bytes = encode(&other, &note).unwrap_or_default();
    assert_eq!(decode(&node, &bytes), Heard::Note(note));
    assert_eq!(decode(&other, &bytes), Heard::Own);
}

/// A note of each kind.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    use std::sync::Arc;

    use super::Hint;
    use super::wire::Note;
    use crate::model::{AckSet, ChannelName, Epoch, Place, Seq, SessionId, UserName};

    let user = UserName::new("ann").unwrap();
    let place = Arc::new(Place::Channel(ChannelName::new("news").unwrap()));
    let (conv, epoch, other) =
        (place.conv_id(), Epoch::new("e").unwrap(), NodeId::new("there").unwrap());
    let acked = AckSet { up_to: Seq(3), ranges: vec![(Seq(5), Seq(6))] };
    let hints = [
        Hint::Head { conv, place: Arc::clone(&place), epoch, head: Seq(9) },
        Hint::Acked { conv, user: user.clone(), acked, session: SessionId::new("s").unwrap() },
        Hint::Presence { user: user.clone(), online: true, version: 3 },
        Hint::Became { conv, place, user, head: Seq(9) },
        Hint::Doubt,
    ];
    let notes = hints.into_iter().map(Note::Hint).chain([Note::Gap]);
    let notes = notes.map(|note| encode(&other, &note).unwrap());
    let message = format!(
        r#"1 there {{"hint":{{"message":{{"conv":"{conv}","place":{{"channel":"news"}},"epoch":"e","message":{{"seq":1,"from":"ann","cid":"c","type":"text","content":"x","ts":1,"at":2,"late":false}}}}}}}}"#
    );
    notes.chain([message.into_bytes()]).collect()
}
