//! For tests: whether a value is as a JSON schema says, for the keywords that our schemas use. A crate that knows all of them brings features of
//! `regex-automata` and `idna` that nothing else here has, and all that uses those, ours too, would be compiled once more for tests.

use serde_json::{Value, json};

/// The first thing in `value` that is not as `schema` says. Keywords that this does not know fail the test.
pub fn violation(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    let Value::Object(keywords) = schema else {
        return (schema == &json!(false)).then(|| format!("{path} is not allowed"));
    };
    for (keyword, rule) in keywords {
        let found = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "default" | "format" => None,
            "minLength" | "maxLength" | "minItems" | "maxItems" => {
                let length = match value {
                    Value::String(text) if keyword.ends_with("Length") => text.chars().count(),
                    Value::Array(values) if keyword.ends_with("Items") => values.len(),
                    _ => continue,
                };
                let (length, limit) = (length as u64, rule.as_u64().unwrap());
                let fits =
                    if keyword.starts_with("min") { length >= limit } else { length <= limit };
                (!fits).then(|| format!("{path}: {length} is beyond {limit}"))
            }
            "pattern" => (!matches(rule.as_str().unwrap(), value.as_str().unwrap_or_default()))
                .then(|| format!("{path} has other characters than {rule}")),
            "anyOf" => {
                let fits = |schema: &Value| violation(root, schema, value, path).is_none();
                (!rule.as_array().unwrap().iter().any(fits))
                    .then(|| format!("{path} is none of {rule}"))
            }
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
            // Each keyword but `type` is about values of one type, and says nothing of others.
            "additionalProperties" => {
                let known = keywords.get("properties").and_then(Value::as_object);
                let known = |name: &String| known.is_some_and(|known| known.contains_key(name));
                let Value::Object(map) = value else { continue };
                let mut others = map.iter().filter(|(name, _)| !known(name));
                others.find_map(|(name, value)| {
                    violation(root, rule, value, &format!("{path}/{name}"))
                })
            }
            "items" => {
                let Value::Array(values) = value else { continue };
                values.iter().enumerate().find_map(|(index, value)| {
                    violation(root, rule, value, &format!("{path}/{index}"))
                })
            }
            "minimum" | "maximum" => {
                let Some(value) = value.as_f64() else { continue };
                let limit = rule.as_f64().unwrap();
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

/// Whether a text is of the characters of a pattern, all of which are `^[…]*$` here.
fn matches(pattern: &str, text: &str) -> bool {
    let class = pattern.strip_prefix("^[").and_then(|rest| rest.strip_suffix("]*$"));
    let class = class.unwrap_or_else(|| panic!("the pattern {pattern} is not known here"));
    let (class, is_in) = class.strip_prefix('^').map_or((class, true), |class| (class, false));
    let class = class.replace("\\u0000", "\0");
    let (mut ranges, mut characters): (Vec<(char, char)>, _) =
        (Vec::new(), class.chars().peekable());
    while let Some(next) = characters.next() {
        let mut one = |next| if next == '\\' { characters.next().unwrap() } else { next };
        let first = one(next);
        let last = match characters.next_if_eq(&'-') {
            Some(_) => characters.next().unwrap(),
            None => first,
        };
        ranges.push((first, last));
    }
    let has = |character| ranges.iter().any(|&(first, last)| (first..=last).contains(&character));
    text.chars().all(|character| has(character) == is_in)
}

#[test]
fn patterns_are_classes_of_characters() {
    assert!(matches(r"^[+\-.0-9@A-Z_a-z]*$", "a-Z.0_9@+"));
    for other in ["a b", "ü", "~", "[", ","] {
        assert!(!matches(r"^[+\-.0-9@A-Z_a-z]*$", other), "{other}");
    }
    assert!(matches(r"^[^\u0000]*$", "anything ü") && !matches(r"^[^\u0000]*$", "a\0b"));
}
