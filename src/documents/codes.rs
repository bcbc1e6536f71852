//! `docs/errors.md`: every error code and every close code, from the enums that the server speaks.

use schemars::schema_for;
use serde_json::Value;

use crate::protocol::{CloseCode, ErrorCode};

/// The text of `docs/errors.md`.
pub fn codes() -> String {
    let mut text = String::from(
        "# Errors and close codes\n\n\
         Generated from src/protocol/error.rs and src/protocol/close.rs: `make documents`.\n\n\
         ## Error codes\n\n\
         Branch on `code`, never on `message`. *Definite*: it certainly did not and will not happen. *Temporary*: the same command may\n\
         succeed later, not before `retry_after_ms` where the answer has it.\n\n\
         | code | definite | temporary | meaning | what to do |\n|---|---|---|---|---|\n",
    );
    let explained = explained();
    for code in ErrorCode::ALL {
        let name = code.name();
        let (meaning, advice) = explained
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(("", ""), |(_, description)| paragraphs(description));
        let yes = |is: bool| if is { "yes" } else { "**no**" };
        let temporary = if code.is_temporary() { "yes" } else { "no" };
        let definite = yes(code.is_definite());
        text += &format!("| `{name}` | {definite} | {temporary} | {meaning} | {advice} |\n");
    }
    text += "\n## Close codes\n\n\
         *Reconnect*: a client comes back by itself, after a random time that grows from one try to the next, and opens its conversations with\n\
         `resume`. *No*: it would only meet the same again; it stops and tells whoever uses it. Of codes that are not listed,\n\
         3000–3499 and 4000–4499 mean reconnect, 3500–3999 and 4500–4999 do not; 1000, 1001, 1011 to 1014 and an end without a code do.\n\n\
         | code | reconnect | reason | meaning | what to do |\n|---|---|---|---|---|\n";
    for (code, description) in CloseCode::ALL {
        let (meaning, advice) = paragraphs(description);
        let reconnect = if CloseCode::reconnect(code.code) { "yes" } else { "**no**" };
        let CloseCode { code, reason } = code;
        text += &format!("| {code} | {reconnect} | {reason} | {meaning} | {advice} |\n");
    }
    text += "\nOver Socket.IO the same stand in the event `closing {code, reconnect, reason}`, before the disconnect.\n";
    text
}

/// Each error code with its description.
fn explained() -> Vec<(String, String)> {
    let schema = schema_for!(ErrorCode).to_value();
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    variants.iter().map(|it| (text(&it["const"]), text(&it["description"]))).collect()
}

/// What it means, and what to do.
fn paragraphs(description: &str) -> (&str, &str) {
    let (meaning, advice) = description.split_once("\n\n").unwrap_or((description, ""));
    // Doc comments of macros keep their blanks.
    (meaning.trim(), advice.trim())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_is_up_to_date() {
        assert!(include_str!("../../docs/errors.md") == codes(), "run: make documents");
    }

    #[test]
    fn every_code_says_what_it_means_and_what_to_do() {
        let explained = explained();
        let names: BTreeSet<_> = explained.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, ErrorCode::ALL.map(ErrorCode::name).into());
        let closes =
            CloseCode::ALL.iter().map(|(code, text)| (code.reason.to_owned(), text.to_string()));
        for (name, description) in explained.iter().cloned().chain(closes) {
            let (meaning, advice) = paragraphs(&description);
            assert!(meaning.ends_with('.') && advice.ends_with('.'), "{name}: {description:?}");
            assert!(!description.contains('|'), "{name}: a table has no bars in its cells");
        }
    }
}
