//! The JSON schema of `report.json`, made from the types that write it.

use schemars::generate::SchemaSettings;

use super::Report;

/// The schema (draft 2020-12) as indented JSON with a newline at its end; `docs/report.schema.json` holds it.
pub fn schema() -> serde_json::Result<String> {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<Report>();
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::Mark;
    use super::super::tests::{record, report};
    use super::*;
    use crate::schema_violation::violation;

    #[test]
    fn the_committed_schema_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, schema().unwrap(), "write it: chatctl bench schema > {path:?}");
    }

    #[test]
    fn reports_are_as_the_schema_says_and_others_are_not() {
        let schema: Value = serde_json::from_str(&schema().unwrap()).unwrap();
        let mut report = report(&record());
        let mark = |until_s| Mark { at_s: 1.0, until_s, label: "a fault".to_owned(), target: None };
        let plain = serde_json::to_value(&report).unwrap();
        report.marks = vec![mark(None), mark(Some(2.0))];
        let marked = serde_json::to_value(&report).unwrap();
        for good in [&plain, &marked] {
            assert_eq!(violation(&schema, &schema, good, ""), None);
        }
        for (path, wrong, said) in [
            ("/verdict", json!("fine"), "/verdict"),
            ("/schema_version", json!(-1), "/schema_version"),
            ("/latencies/write/p50_us", json!("fast"), "/latencies/write/p50_us"),
            ("/marks/0/at_s", json!(null), "/marks/0/at_s"),
            ("/servers/0", json!({}), "/servers/0 lacks"),
            ("/counts/sent", json!(0.5), "/counts/sent"),
            ("/host", json!([]), "/host"),
        ] {
            let mut spoiled = marked.clone();
            *spoiled.pointer_mut(path).unwrap() = wrong;
            let found = violation(&schema, &schema, &spoiled, "").expect(path);
            assert!(found.contains(said), "{found}");
        }
        let mut without = plain.clone();
        without.as_object_mut().unwrap().remove("durations_s");
        let found = violation(&schema, &schema, &without, "").unwrap();
        assert!(found.contains("durations_s"), "{found}");
    }
}
