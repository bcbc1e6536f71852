//! Durations as people write them.

use std::time::Duration;

/// `500ms`, `10s`, `2m`, `1h`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write it with a unit, like 500ms, 10s, 2m, 1h".to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["10", "s", "1.5s", "-1s", "99999999999999999999h", "9999999999999999h", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
