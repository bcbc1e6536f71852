//! `report.html`: one file that shows one run or several, offline, with everything in it.
//!
//! Tables and texts are written here, so that they are there without scripts; `report.js` draws the
//! plots into places that are left for them, from one JSON value. The page's own policy forbids it
//! to load or to send anything, and to run any script but the two that are named by their hashes.

mod comparison;
mod curve;
mod data;
mod markup;
mod run_section;
mod shown_run;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use data::PageData;
use markup::{embedded_json, escaped};

pub use shown_run::{ShownRun, merged};

const UPLOT_SCRIPT: &str = include_str!("uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("uplot/LICENSE");
const SCRIPT: &str = include_str!("report.js");
const STYLE: &str = include_str!("report.css");

/// The page of these runs, at least one; several are compared first and then shown one by one.
pub fn page(mut runs: Vec<ShownRun>) -> serde_json::Result<String> {
    if runs.len() > 1 {
        shown_run::number_labels(&mut runs);
    }
    let data = PageData::of(&runs);
    let json = embedded_json(&serde_json::to_string(&data)?);
    let (title, body) = match runs.as_slice() {
        [run] => (run_section::title(run), run_section::page_of_one(run, &data.growths)),
        runs => (comparison::title(runs), comparison::page_of_several(runs, &data.growths)),
    };
    let title = escaped(&title);
    let (uplot, script) = (allowed(UPLOT_SCRIPT), allowed(SCRIPT));
    Ok(format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; base-uri 'none'; form-action 'none'; \
         style-src 'unsafe-inline'; script-src {uplot} {script}\">\n\
         <title>{title}</title>\n<style>{UPLOT_STYLE}</style>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <button id=theme type=button hidden>Theme: as the system</button>\n\
         <main>\n{body}</main>\n\
         <noscript><p>The plots need JavaScript; every table is above.</p></noscript>\n\
         <script type=\"application/json\" id=data>{json}</script>\n\
         <!-- uPlot 1.6.32, https://github.com/leeoniya/uPlot\n\n{UPLOT_LICENCE}-->\n\
         <script>{UPLOT_SCRIPT}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    ))
}

/// How the policy of the page names a script.
fn allowed(script: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script)))
}

#[cfg(test)]
mod tests;
