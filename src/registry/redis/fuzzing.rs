//! What the scripts of the registry answer, or something in their place.

use redis::Value;

use super::keeper::changes;
use super::table::Told;
use crate::model::UserName;
use crate::registry::revocations;

/// An answer, taken for that of each script. It is read, or an error.
pub fn replies(value: Value) {
    let Ok(ann) = UserName::new("ann") else { return };
    let told = [false, true].map(|tell| Told { user: ann.clone(), here: true, tell });
    if let Value::Array(values) = &value
        && let Ok(changes) = changes(&told, values)
    {
        assert!(changes.len() <= told.len() && !changes.is_empty(), "{changes:?}");
    }
    if let Ok(words) = redis::from_redis_value(value) {
        revocations::redis::fuzzed(words);
    }
}
