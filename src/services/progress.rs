//! What `init-env` is doing: a spinner per service on a terminal, a line per step in a pipe.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ServiceKind;

/// Tells people, on stderr, which step each service is at.
#[derive(Debug)]
pub struct Progress {
    style: Style,
}

#[derive(Debug)]
enum Style {
    Silent,
    Lines,
    Spinners { all: MultiProgress, each: Mutex<BTreeMap<ServiceKind, ProgressBar>> },
}

impl Progress {
    /// Spinners on a terminal, lines elsewhere.
    pub fn on_stderr() -> Self {
        let style = if std::io::stderr().is_terminal() {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            Style::Spinners { all, each: Mutex::default() }
        } else {
            Style::Lines
        };
        Self { style }
    }

    /// Says nothing.
    pub fn silent() -> Self {
        Self { style: Style::Silent }
    }

    /// The step that a service is at now.
    pub fn say(&self, service: ServiceKind, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        match &self.style {
            Style::Silent => {}
            Style::Lines => eprintln!("{service:<9}  {text}"),
            Style::Spinners { all, each } => {
                // Nothing under this lock can panic half-way through a change.
                let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
                let bar = each.entry(service).or_insert_with(|| spinner(all, service));
                bar.set_message(text);
            }
        }
    }

    /// A service is through: the line stays.
    pub fn done(&self, service: ServiceKind, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        if let Style::Spinners { each, .. } = &self.style {
            let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(bar) = each.remove(&service) {
                bar.finish_with_message(text);
                return;
            }
        }
        self.say(service, text);
    }

    /// A line that belongs to no service.
    pub fn note(&self, text: &str) {
        match &self.style {
            Style::Silent => {}
            Style::Lines => eprintln!("{text}"),
            // An error here means that stderr is gone: nobody reads it.
            Style::Spinners { all, .. } => drop(all.println(text)),
        }
    }
}

fn spinner(all: &MultiProgress, service: ServiceKind) -> ProgressBar {
    let bar = all.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<9}  {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_prefix(service.name());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
