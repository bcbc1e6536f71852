//! Jars from Maven repositories, by Maven itself: its settings, mirrors and credentials hold.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::ServiceError;
use super::tool::{Outcome, run, shortened};

/// Copies an artifact and all that it needs into a folder.
const GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// The name in the cache: `kafka-4.3.1-2.25.4`.
pub(super) fn entry(name: &str, coordinates: &[(&str, &str)]) -> String {
    coordinates.iter().fold(name.to_owned(), |entry, (_, version)| format!("{entry}-{version}"))
}

/// For people: `group:artifact:version`, with commas between.
pub(super) fn listed(coordinates: &[(&str, &str)]) -> String {
    let listed: Vec<_> =
        coordinates.iter().map(|(artifact, version)| format!("{artifact}:{version}")).collect();
    listed.join(", ")
}

/// Fetches the jars into an empty folder.
pub(super) async fn fetch(
    program: &Path,
    coordinates: &[(&str, &str)],
    folder: &Path,
) -> Result<(), ServiceError> {
    let unresolved = |reason| ServiceError::Unresolved { what: listed(coordinates), reason };
    let file = folder.join("pom.xml");
    fs::write(&file, pom(coordinates)).map_err(ServiceError::file(&file))?;
    let mut output = OsString::from("-DoutputDirectory=");
    output.push(folder);
    let arguments: [OsString; 9] = [
        "-B".into(),
        "-q".into(),
        // What was not found once is looked for again: the mirror may have got well since.
        "-U".into(),
        "-Dstyle.color=never".into(),
        "-f".into(),
        file.into(),
        GOAL.into(),
        "-DincludeScope=runtime".into(),
        output,
    ];
    let outcome = run(program, arguments, &[]).await.map_err(unresolved)?;
    if !outcome.success {
        return Err(unresolved(reason(&outcome)));
    }
    Ok(())
}

/// The one line of Maven's that says what is wrong: the first error; the others tell where to read on.
fn reason(outcome: &Outcome) -> String {
    let mut errors = outcome.text.lines().filter_map(|line| line.split_once("[ERROR]"));
    let error = errors.find(|(_, text)| !text.trim().is_empty());
    error.map_or_else(
        || outcome.last_line(),
        |(_, text)| shortened(text.split(" -> [Help").next().unwrap_or(text).trim()),
    )
}

fn pom(coordinates: &[(&str, &str)]) -> String {
    let mut dependencies = String::new();
    for (artifact, version) in coordinates {
        let (group, artifact) = artifact.split_once(':').unwrap_or((artifact, artifact));
        // Writing to a string does not fail.
        let _ = writeln!(
            dependencies,
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        );
    }
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>chatctl</groupId>
  <artifactId>services</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"
    )
}
