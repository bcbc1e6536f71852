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

    /// The first thing in `value` that is not as `schema` says. Keywords that this does not know fail the test.
    fn violation(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
        let Value::Object(keywords) = schema else {
            return (schema == &json!(false)).then(|| format!("{path} is not allowed"));
        };
        for (keyword, rule) in keywords {
            let found = match keyword.as_str() {
                "$schema" | "title" | "description" | "$defs" | "default" | "format" => None,
                "$ref" => {
                    let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                    violation(root, root.pointer(pointer).unwrap(), value, path)
                }
                "type" => {
                    let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    let fits = |name: &Value| match name.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "boolean" => value.is_boolean(),
                        "integer" => value.is_u64() || value.is_i64(),
                        "number" => value.is_number(),
                        "null" => value.is_null(),
                        other => panic!("type {other}"),
                    };
                    (!names.iter().any(fits)).then(|| format!("{path} is no {rule}"))
                }
                "required" => rule.as_array().unwrap().iter().find_map(|name| {
                    let absent = value.get(name.as_str().unwrap()).is_none();
                    absent.then(|| format!("{path} lacks {name}"))
                }),
                "properties" => rule.as_object().unwrap().iter().find_map(|(name, schema)| {
                    violation(root, schema, value.get(name)?, &format!("{path}/{name}"))
                }),
                "additionalProperties" => {
                    let known = keywords.get("properties").and_then(Value::as_object);
                    let known = |name: &String| known.is_some_and(|known| known.contains_key(name));
                    let mut others = value.as_object()?.iter().filter(|(name, _)| !known(name));
                    others.find_map(|(name, value)| {
                        violation(root, rule, value, &format!("{path}/{name}"))
                    })
                }
                "items" => value.as_array()?.iter().enumerate().find_map(|(index, value)| {
                    violation(root, rule, value, &format!("{path}/{index}"))
                }),
                "minimum" | "maximum" => {
                    let (limit, value) = (rule.as_f64().unwrap(), value.as_f64()?);
                    let fits = if keyword == "minimum" { value >= limit } else { value <= limit };
                    (!fits).then(|| format!("{path}: {value} is beyond {limit}"))
                }
                "const" => (rule != value).then(|| format!("{path} is not {rule}")),
                "enum" => (!rule.as_array().unwrap().contains(value))
                    .then(|| format!("{path} is none of {rule}")),
                "oneOf" => {
                    let fits = |schema: &&Value| violation(root, schema, value, path).is_none();
                    let count = rule.as_array().unwrap().iter().filter(fits).count();
                    (count != 1).then(|| format!("{path} is {count} of {rule}"))
                }
                other => panic!("the keyword {other} is not known here"),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

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
