//! A page that shows each anomaly among the lines around it.

use std::fmt::Write as _;

use super::excerpts::{Excerpt, Excerpts, is_of_run};
use super::verdict::Verdict;
use crate::harness::html::escaped;
use crate::history::{Act, Asked, Event, NemesisPhase, Seen};

/// Characters of what a line says.
const TEXT_MAX: usize = 240;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--mark:#e8b00033;--bad:#c22;--quiet:#777}\
body{font:14px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:80rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%;font-size:13px}\
td,th{border-bottom:1px solid var(--line);padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}\
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--quiet)}\
td.w{overflow-wrap:anywhere}\
tr.proof{background:var(--mark)}tr.proof td.n{color:inherit;font-weight:600}\
tr.run td{color:var(--bad)}tr.apart td{color:var(--quiet);text-align:center}\
h2{margin-top:2.5rem}.wide{overflow-x:auto}code{overflow-wrap:anywhere}";

/// The page; `None` where nothing is wrong. It loads nothing, runs nothing, and whatever a history holds stays text.
pub fn timeline(events: &[Event], verdict: &Verdict) -> Option<String> {
    if verdict.anomalies.is_empty() {
        return None;
    }
    let mut excerpts = Excerpts::of(verdict);
    events.iter().for_each(|event| excerpts.take(event));
    Some(page(verdict, excerpts))
}

/// The page with what was picked for it.
pub(super) fn page(verdict: &Verdict, excerpts: Excerpts<'_>) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width\">\n\
        <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
        <title>chatctl check: {}</title>\n<style>{STYLE}</style>\n<h1>{}</h1>\n\
        <p>Each case with the lines of its conversation around it; those that prove it are marked. Times run from the first line shown.</p>\n",
        verdict.outcome, verdict.outcome
    );
    let mut excerpts = excerpts.finish().into_iter();
    for broken in &verdict.anomalies {
        for (number, excerpt) in (1..=broken.examples.len()).zip(&mut excerpts) {
            let example = excerpt.example;
            // Writing to a String cannot fail.
            let _ = writeln!(html, "<section data-anomaly=\"{}\">", broken.name);
            let _ = writeln!(
                html,
                "<h2>{} <small>{number} of {}</small></h2>",
                broken.name, broken.count
            );
            let _ = writeln!(html, "<p>{}</p>", escaped(&example.what));
            if !example.conv.is_empty() {
                let _ = writeln!(html, "<p>in <code>{}</code></p>", escaped(&example.conv));
            }
            table(&mut html, &excerpt);
            html.push_str("</section>\n");
        }
    }
    html.push_str("</html>\n");
    html
}

fn table(html: &mut String, excerpt: &Excerpt<'_>) {
    let Some((_, begun)) = excerpt.shown.first() else { return };
    html.push_str(
        "<div class=\"wide\"><table>\n<tr><th>ms<th>line<th>user<th>session<th>node<th>what</tr>\n",
    );
    for (is_apart, event) in &excerpt.shown {
        if *is_apart {
            html.push_str("<tr class=\"apart\"><td colspan=\"6\">…</td></tr>\n");
        }
        let class = match (excerpt.proof.contains(&event.index), is_of_run(event)) {
            (true, _) => " class=\"proof\"",
            (_, true) => " class=\"run\"",
            _ => "",
        };
        let ms = (event.time_ns.saturating_sub(begun.time_ns)) as f64 / 1e6;
        let session = event.session.map_or_else(String::new, |session| session.to_string());
        let node: String = event.node.as_deref().unwrap_or("").chars().take(12).collect();
        let user = event.user.as_deref().unwrap_or("");
        let _ = writeln!(
            html,
            "<tr{class}><td class=\"n\">{ms:.3}<td class=\"n\">{}<td>{}<td class=\"n\">{session}<td><code>{}</code><td class=\"w\">{}</tr>",
            event.index,
            escaped(user),
            escaped(&node),
            escaped(&said(event)),
        );
    }
    html.push_str("</table></div>\n");
}

/// What a line says, for people.
fn said(event: &Event) -> String {
    let text = match &event.act {
        Act::Invoke { asked } => format!("asks {}", asks(asked)),
        Act::Ok { seen: Seen::Nemesis { act, target, phase, .. } } => match phase {
            NemesisPhase::Begins => format!("nemesis: {act}, {target}"),
            NemesisPhase::Ends => format!("nemesis: {act}, {target}, is over"),
            NemesisPhase::Healed => "nemesis: everything is healed".to_owned(),
        },
        Act::Ok { seen: Seen::Recv { item, .. } } => format!(
            "is pushed seq {} ({} of {}, ts {}{})",
            item.seq,
            item.cid,
            item.from,
            item.ts,
            if item.late { ", late" } else { "" }
        ),
        Act::Ok { seen } => format!("ok {}", json(seen)),
        Act::Fail { error, .. } => format!("certainly not: {}", error.message),
        Act::Info { error, .. } => format!("nobody knows: {}", error.message),
    };
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn asks(asked: &Asked) -> String {
    match asked {
        Asked::Send { cid, ts: Some(ts), .. } => format!("to send {cid}, ts {ts}"),
        Asked::Send { cid, ts: None, .. } => format!("to send {cid}"),
        other => json(other),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::judge;
    use crate::checker::tests::histories;

    #[test]
    fn every_case_is_shown_with_its_proof_and_stays_text() {
        let mut pages = 0;
        for mut events in histories(20) {
            for event in &mut events {
                if let Some(user) = &mut event.user {
                    user.push_str("<b>");
                }
            }
            let verdict = judge(&events);
            let Some(page) = timeline(&events, &verdict) else {
                assert!(verdict.anomalies.is_empty());
                continue;
            };
            pages += 1;
            let cases: usize = verdict.anomalies.iter().map(|broken| broken.examples.len()).sum();
            assert_eq!(page.matches("<section").count(), cases);
            assert!(page.matches("class=\"proof\"").count() >= cases, "{page}");
            assert!(!page.contains("<b>") && page.contains("&lt;b&gt;"));
        }
        assert!(pages >= 5, "{pages} broken ones");
    }
}
