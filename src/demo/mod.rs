//! `chatctl demo`: a LOCAL server on loopback and two people who chat there, at a pace that one can follow. Like `bench` and `check` it is
//! a black box: it knows the client and how a server is started, and nothing of the server's inside.

mod person;
mod script;

use std::path::PathBuf;
use std::time::Duration;

use self::person::{Person, Unread};
use self::script::{Act, CHANNEL, Place, ROUND, Who};
use crate::clock;
use crate::harness::{HarnessError, ServerProcess, fresh_name};

/// What may be chosen.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Where the page is, on loopback; 0: a free port.
    pub port: u16,
    /// Where messages are kept, as an absolute path; `None`: in a temporary folder that goes with the demo.
    pub data_dir: Option<PathBuf>,
    /// From one act to the next.
    pub pace: Duration,
}

/// A running demo. Dropped, its server is killed and its temporary folder removed; [`Demo::stop`] lets it drain first.
#[derive(Debug)]
pub struct Demo {
    server: ServerProcess,
    ann: Person,
    bob: Person,
    pace: Duration,
    /// What the names of this demo's messages begin with: a folder that is kept has those of earlier ones.
    name: String,
}

impl Demo {
    /// Starts the server, whatever the settings of this desk are, and lets both in.
    pub async fn start(options: DemoOptions) -> Result<Self, HarnessError> {
        let mut environment =
            vec![("CHATCTL_LISTEN".to_owned(), format!("127.0.0.1:{}", options.port))];
        if let Some(folder) = &options.data_dir {
            let folder = folder.to_str().ok_or_else(|| {
                HarnessError::Usage(format!("--data-dir: {} is not UTF-8", folder.display()))
            })?;
            environment.push(("CHATCTL_DATA_DIR".to_owned(), folder.to_owned()));
        }
        let server = ServerProcess::start_apart(&environment).await?;
        let come = async |who: Who| {
            let coming = Person::come(server.address(), who).await;
            coming.map_err(HarnessError::client(format!("{} cannot come in", who.name())))
        };
        let [ann, bob] = [come(Who::Ann).await?, come(Who::Bob).await?];
        let name = fresh_name("demo");
        Ok(Self { server, ann, bob, pace: options.pace, name })
    }

    /// What to look at, and where; several lines.
    pub fn introduction(&self) -> String {
        let page = self.server.address().authority();
        let status = self
            .server
            .admin()
            .map_or_else(String::new, |admin| format!("  its node   http://{admin}/status\n"));
        let [ann, bob] = Who::BOTH.map(Who::name);
        format!(
            "A chat server runs, and two people, {ann} and {bob}, are talking.\n\n\
             \x20 the chat   http://{page}/\n{status}\n\
             Open the chat, sign in under any name, and open the channel {CHANNEL}. Messages\n\
             that were written long before they arrived stand at their own time and are\n\
             marked late until you have read them. Sign in as {bob} to see his direct chat\n\
             with {ann}: what he has not read yet, and how that changes when he reads.\n\
             Two people side by side: http://{page}/?panes=2\n\
             Ctrl-C ends everything.\n\n"
        )
    }

    /// Plays rounds without end and hands each line to `tell`; returns only why it cannot go on.
    pub async fn play<E: From<HarnessError>>(
        &self,
        mut tell: impl FnMut(&str) -> Result<(), E>,
    ) -> E {
        for round in 0_u64.. {
            for (index, act) in ROUND.iter().enumerate() {
                let cid = format!("{}-{round}-{index}", self.name);
                let told = match self.act(*act, &cid).await {
                    Ok(line) => tell(&line),
                    Err(error) => return error.into(),
                };
                if let Err(error) = told {
                    return error;
                }
                tokio::time::sleep(self.pace).await;
            }
        }
        unreachable!("there are more rounds than time")
    }

    async fn act(&self, act: Act, cid: &str) -> Result<String, HarnessError> {
        let failed = |who: Who| HarnessError::client(format!("{} cannot go on", who.name()));
        match act {
            Act::Say(who, place, text) => {
                let said = self.person(who).say(place, cid, text, None).await;
                said.map_err(failed(who))?;
                Ok(said_line(who, place, text))
            }
            Act::SayLate(who, place, ago, text) => {
                let ts = clock::unix_ms().saturating_sub(ago.as_secs() * 1_000);
                let said = self.person(who).say(place, cid, text, Some(ts)).await;
                let late = if said.map_err(failed(who))?.late { "late: " } else { "" };
                let line = said_line(who, place, text);
                Ok(format!(
                    "{}\n{:14} ({late}written {} s ago)\n",
                    line.trim_end(),
                    "",
                    ago.as_secs()
                ))
            }
            Act::Read(who, place) => {
                let Unread { messages, late, .. } =
                    self.person(who).read(place).await.map_err(failed(who))?;
                let place = match place {
                    Place::Direct => String::new(),
                    Place::Lobby => format!(" in #{CHANNEL}"),
                };
                let s = if messages == 1 { "" } else { "s" };
                let late = if late == 0 { String::new() } else { format!(", {late} of them late") };
                Ok(format!("{:14} reads {messages} new message{s}{place}{late}\n", who.name()))
            }
        }
    }

    fn person(&self, who: Who) -> &Person {
        match who {
            Who::Ann => &self.ann,
            Who::Bob => &self.bob,
        }
    }

    /// Lets both go and the server drain. The text says what was wrong with that, if anything.
    pub async fn stop(self) -> Option<String> {
        let Self { mut server, ann, bob, .. } = self;
        tokio::join!(ann.go(), bob.go());
        server.stop().await
    }
}

fn said_line(who: Who, place: Place, text: &str) -> String {
    let whom = match place {
        Place::Direct => who.other().name().to_owned(),
        Place::Lobby => format!("#{CHANNEL}"),
    };
    format!("{:14} {text}\n", format!("{} → {whom}", who.name()))
}
