//! What a client receives.

use serde::Deserialize;

use super::{
    AckReply, AckedPush, CreateReply, Empty, ErrorBody, HelloReply, ListReply, ListedPush,
    MembersPush, MsgPush, NoticePush, OpenReply, PresencePush, Push, ReadReply, RefreshReply,
    RemovedPush, Reply, ResetPush, RosterReply, SendReply,
};

/// A frame of the server.
#[derive(Debug, Clone)]
pub enum ServerFrame {
    /// The answer to the command with this `id`; `None`: to a frame whose `id` could not be read.
    Reply {
        /// The command's `id`.
        id: Option<u64>,
        /// The answer.
        reply: Reply,
    },
    /// Not an answer.
    Push(Push),
}

/// One field per possible key, so that a frame is read in one pass.
#[derive(Deserialize)]
struct AnyFrame {
    id: Option<u64>,
    error: Option<ErrorBody>,
    hello: Option<Box<HelloReply>>,
    open: Option<Box<OpenReply>>,
    send: Option<SendReply>,
    read: Option<ReadReply>,
    ack: Option<AckReply>,
    leave: Option<Empty>,
    list: Option<ListReply>,
    create: Option<CreateReply>,
    invite: Option<Empty>,
    remove: Option<Empty>,
    quit: Option<Empty>,
    roster: Option<RosterReply>,
    refresh: Option<RefreshReply>,
    ping: Option<Empty>,
    msg: Option<MsgPush>,
    acked: Option<AckedPush>,
    presence: Option<PresencePush>,
    listed: Option<ListedPush>,
    reset: Option<ResetPush>,
    members: Option<MembersPush>,
    removed: Option<RemovedPush>,
    notice: Option<NoticePush>,
}

impl ServerFrame {
    /// Reads one text frame; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let frame: AnyFrame = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let id = frame.id;
        let push = None
            .or(frame.msg.map(Push::Msg))
            .or(frame.acked.map(Push::Acked))
            .or(frame.presence.map(Push::Presence))
            .or(frame.listed.map(Push::Listed))
            .or(frame.reset.map(Push::Reset))
            .or(frame.members.map(Push::Members))
            .or(frame.removed.map(Push::Removed))
            .or(frame.notice.map(Push::Notice));
        if let Some(push) = push {
            return Ok(Self::Push(push));
        }
        None.or(frame.send.map(Reply::Send))
            .or(frame.read.map(Reply::Read))
            .or(frame.open.map(Reply::Open))
            .or(frame.ack.map(Reply::Ack))
            .or(frame.error.map(Reply::Error))
            .or(frame.hello.map(Reply::Hello))
            .or(frame.leave.map(Reply::Leave))
            .or(frame.list.map(Reply::List))
            .or(frame.create.map(Reply::Create))
            .or(frame.invite.map(Reply::Invite))
            .or(frame.remove.map(Reply::Remove))
            .or(frame.quit.map(Reply::Quit))
            .or(frame.roster.map(Reply::Roster))
            .or(frame.refresh.map(Reply::Refresh))
            .or(frame.ping.map(Reply::Ping))
            .map(|reply| Self::Reply { id, reply })
            .ok_or_else(|| "neither a reply nor a push".to_owned())
    }
}
