//! Protocol v1 as types: commands, replies, pushes, errors and close codes.
//!
//! The server parses commands and writes the rest; the client does the reverse; both use these.

mod close;
mod command;
mod error;
mod fields;
mod frame_text;
#[cfg(test)]
pub(crate) mod instructions;
mod parse;
mod parse_send;
mod push;
mod reply;
mod server_frame;
mod wire_schema;

pub use close::CloseCode;
pub use command::{
    Ack, Command, Hello, Leave, List, Open, Other, Quit, Read, ReadKind, Refresh, Rejected,
    Request, Resume, RosterOf, Send, To,
};
pub use error::{ErrorBody, ErrorCode};
pub use frame_text::{write_msg, write_send_reply};
pub use parse::parse_command;
pub use push::{
    AckedPush, ListedPush, MembersPush, MsgPush, NoticePush, PresencePush, Push, RemovedPush,
    ResetPush,
};
pub use reply::{
    AckReply, CreateReply, Empty, EngineInfo, HelloReply, ListItem, ListReply, OpenReply,
    ReadReply, RefreshReply, Reply, ReplyFrame, RosterReply, SendReply,
};
pub use server_frame::ServerFrame;
pub use wire_schema::as_on_the_wire;

/// Where the WebSocket is.
pub const WEBSOCKET_PATH: &str = "/v1/ws";

/// The version that `hello` answers.
pub const PROTOCOL_VERSION: u32 = 1;
