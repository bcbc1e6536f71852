//! Names that no earlier run has used.

/// `<kind>-` and eight random characters: data of earlier runs may outlive their servers.
pub fn fresh_name(kind: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The last characters of a version 7 id are random.
    format!("{kind}-{}", id.get(24..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let (one, other) = (fresh_name("bench"), fresh_name("bench"));
        assert!(one.starts_with("bench-") && one.len() == "bench-".len() + 8, "{one}");
        assert_ne!(one, other);
    }
}
