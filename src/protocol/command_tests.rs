//! What the client writes is what the server reads, and nothing makes the reading panic.

use proptest::prelude::*;

use super::*;
use crate::model::{ConvId, Place};
use crate::protocol::Request;

fn name() -> impl Strategy<Value = UserName> {
    "[A-Za-z0-9._@+-]{1,64}".prop_map(|text| UserName::new(&text).unwrap())
}

fn conv() -> impl Strategy<Value = ConvId> {
    (name(), name()).prop_map(|(one, other)| Place::direct(one, other).conv_id())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(INTEGER_MAX), 0..=INTEGER_MAX]
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        name().prop_map(To::User),
        "[a-z]{1,64}".prop_map(|text| To::Channel(ChannelName::new(&text).unwrap())),
        "[A-Za-z0-9_-]{22}".prop_map(|text| To::Group(GroupId::new(&text).unwrap())),
    ]
}

fn read_kind() -> impl Strategy<Value = ReadKind> {
    let order = prop_oneof![Just(Order::Asc), Just(Order::Desc)];
    let ends = prop_oneof![
        Just((None, None)),
        number().prop_map(|from| (Some(from), None)),
        (number(), number()).prop_map(|(one, other)| (Some(one.min(other)), Some(one.max(other)))),
    ];
    prop_oneof![
        (ends, order).prop_map(|((from, to), order)| ReadKind::Range { from, to, order }),
        number().prop_map(|seq| ReadKind::After { after_seq: Seq(seq) }),
        Just(ReadKind::Late { late: true }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let resume = prop::option::of(
        ("[!-~]{1,32}", number())
            .prop_map(|(epoch, seq)| Resume { epoch: Epoch::new(&epoch).unwrap(), seq: Seq(seq) }),
    );
    let ranges = prop::collection::vec((1..1_000u64, 1..9u64), 0..=LIMITS.ack_ranges_max)
        .prop_map(|pairs| pairs.into_iter().map(|(lo, n)| (Seq(lo), Seq(lo + n))).collect());
    prop_oneof![
        (name(), prop::option::of(".{0,32}")).prop_map(|(user, client)| {
            Command::Hello(Hello { token: None, user: Some(user), client })
        }),
        (".{0,80}", prop::option::of(".{0,32}")).prop_map(|(token, client)| {
            Command::Hello(Hello { token: Some(Token::new(token)), user: None, client })
        }),
        ".{0,80}".prop_map(|token| Command::Refresh(Refresh { token: Token::new(token) })),
        (to(), 0..=LIMITS.read_limit_max, resume, any::<bool>(), any::<bool>()).prop_map(
            |(to, limit, resume, echo, push)| {
                Command::Open(Open { to, limit, resume, echo, push })
            }
        ),
        (conv(), "[!-~]{1,64}", "[a-z0-9._-]{1,32}", "[^\0]{1,80}", prop::option::of(number()))
            .prop_map(|(conv, cid, kind, content, ts)| {
                let (cid, kind) = (Cid::new(&cid).unwrap(), MessageType::new(&kind).unwrap());
                Command::Send(Send { conv, cid, kind, content, ts })
            }),
        (conv(), read_kind(), 1..=LIMITS.read_limit_max, prop::option::of(".{0,40}")).prop_map(
            |(conv, kind, limit, cursor)| Command::Read(Read { conv, kind, limit, cursor })
        ),
        (conv(), number(), ranges).prop_map(|(conv, up_to, ranges)| {
            Command::Ack(Ack { conv, up_to: Some(Seq(up_to)), ranges: Some(ranges) })
        }),
        conv().prop_map(|conv| Command::Leave(Leave { conv })),
        (1..=LIMITS.read_limit_max, prop::option::of(".{0,40}"))
            .prop_map(|(limit, cursor)| Command::List(List { limit, cursor })),
        Just(Command::Ping {}),
    ]
}

proptest! {
    #[test]
    fn the_server_reads_what_the_client_writes(id in 1..=INTEGER_MAX, command in command()) {
        let text = serde_json::to_string(&Request { id, command: command.clone() }).unwrap();
        prop_assert_eq!(parse_command(&text), Ok((id, command)), "{}", text);
    }

    #[test]
    fn a_damaged_frame_is_answered(
        command in command(),
        at in any::<prop::sample::Index>(),
        with in "[\\x00-\\x7f]{0,3}",
        cut in 0..4usize,
    ) {
        let text = serde_json::to_string(&Request { id: 7, command }).unwrap();
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        let end = (at + cut).min(characters.len());
        characters.splice(at..end, with.chars());
        let damaged: String = characters.into_iter().collect();
        if let Err(rejected) = parse_command(&damaged) {
            // Whatever it is, it says so definitely and once.
            prop_assert!(rejected.error.definite && !rejected.error.temporary);
            prop_assert!(!rejected.error.message.is_empty());
        }
    }

    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = parse_command(&text);
    }
}
