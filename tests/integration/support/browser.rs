//! A real browser without a window, and the document that it made of a page.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::PATIENCE;
use super::services::leave_out;

/// A document after its scripts have run, as the browser writes it.
pub struct Document(String);

/// Least width of a window, px: the browser makes no smaller one.
const WINDOW_WIDTH_MIN: u32 = 500;

/// Shows a page in a frame, and writes out what became of it. Nothing in a frame knows how wide the window is.
const FRAME: &str = "<!doctype html><body><iframe src=\"PAGE\" width=WIDTH height=800 frameborder=0></iframe><pre></pre>\
    <script>document.querySelector('iframe').addEventListener('load', () => setTimeout(() => {\
    document.querySelector('pre').textContent =\
    document.querySelector('iframe').contentDocument.documentElement.outerHTML; }, 500))</script>";

impl Document {
    /// Opens a file in a window of this width, px; `None` when the caller is to be left out.
    pub async fn open(file: &Path, width_px: u32) -> Option<Self> {
        let url = format!("file://{}", file.canonicalize().unwrap().display());
        if width_px >= WINDOW_WIDTH_MIN {
            return Self::load(&url, width_px).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let frame = FRAME.replace("PAGE", &url).replace("WIDTH", &width_px.to_string());
        let framing = folder.path().join("frame.html");
        std::fs::write(&framing, frame).unwrap();
        let framing = format!("file://{}", framing.display());
        let Self(text) = Self::load(&framing, 2 * WINDOW_WIDTH_MIN).await?;
        let (_, text) = text.split_once("<pre>").unwrap();
        Some(Self(unescaped(text.split_once("</pre>").unwrap().0)))
    }

    async fn load(url: &str, window_width_px: u32) -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let output = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .arg("--hide-scrollbars")
            // Pages may read the frames in them, which are files too.
            .arg("--allow-file-access-from-files")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={window_width_px},800"))
            .args(["--virtual-time-budget=5000", "--dump-dom"])
            .arg(url)
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        // A browser starts slowly on a busy machine.
        let output = match timeout(3 * PATIENCE, output).await.expect("the browser ends in time") {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return leave_out("chromium is not installed (apt-get install chromium)");
            }
            Err(error) => panic!("chromium: {error}"),
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("<html"), "chromium made nothing of it: {complaint}");
        Some(Self(text))
    }

    /// An attribute of the root.
    pub fn root(&self, attribute: &str) -> String {
        let tag = self.elements("html").into_iter().next().unwrap();
        tag.get(attribute).unwrap_or_else(|| panic!("{attribute} is not in {tag:?}")).clone()
    }

    /// The attributes of each element with this name.
    pub fn elements(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        let start = format!("<{name}");
        let starts = self.0.split(start.as_str()).skip(1);
        let tags = starts.filter(|rest| rest.starts_with([' ', '>']));
        tags.map(attributes).collect()
    }

    /// The exact number in a cell; `None` where there is none.
    pub fn number(&self, table: &str, row: &str, cell: &str) -> Option<f64> {
        let (_, rest) = self.0.split_once(&format!("<table data-table=\"{table}\">"))?;
        let (_, rest) = rest.split_once("</table>").map(|(table, _)| ((), table))?;
        let (_, rest) = rest.split_once(&format!("<tr data-row=\"{row}\">"))?;
        let (row, _) = rest.split_once("</tr>")?;
        let (_, rest) = row.split_once(&format!("data-name=\"{cell}\" data-value=\""))?;
        rest.split_once('"')?.0.parse().ok()
    }

    /// The rows of a table, by the names of their first cells; none where there is no such table.
    pub fn rows(&self, table: &str) -> Vec<String> {
        let head = format!("<table data-table=\"{table}\">");
        let Some((_, rest)) = self.0.split_once(&head) else { return Vec::new() };
        let rows = rest.split("</table>").next().unwrap().split("<tr data-row=\"").skip(1);
        rows.map(|row| unescaped(row.split('"').next().unwrap())).collect()
    }
}

/// The attributes of a tag, of which this is all after its name. Browsers write them quoted and escaped.
fn attributes(tag: &str) -> BTreeMap<String, String> {
    let (mut attributes, mut rest) = (BTreeMap::new(), tag);
    loop {
        rest = rest.trim_start();
        if rest.starts_with('>') {
            return attributes;
        }
        let Some((name, after)) = rest.split_once("=\"") else { return attributes };
        let Some((value, after)) = after.split_once('"') else { return attributes };
        attributes.insert(name.to_owned(), unescaped(value));
        rest = after;
    }
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&nbsp;", "\u{a0}").replace("&amp;", "&")
}
