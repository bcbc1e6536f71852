//! What no log may hold: every text, password, secret and token of the tests has a mark, and every log of a server is searched for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// In every content that the tests send, and in every secret that servers and services are told.
pub const CANARY: &str = "cAnArY-5k";

/// How a token begins, whichever of its fields comes first.
const TOKENS: [&str; 2] = ["eyJhbGciOi", "eyJ0eXAiOi"];

/// The first line that shows something that it must not, if there is one: a canary as text, as a list of bytes, in hexadecimal or in
/// Base64, or a token.
pub fn leak(log: &str) -> Option<&str> {
    let forms = forms();
    log.lines().find(|line| forms.iter().any(|form| line.contains(form)))
}

/// Fails the test whose server wrote this.
#[track_caller]
pub fn check(log: &[u8]) {
    let log = String::from_utf8_lossy(log);
    if let Some(line) = leak(&log) {
        panic!("a log shows what is nobody's to read: {line}");
    }
}

fn forms() -> Vec<String> {
    let bytes = CANARY.as_bytes();
    let list = |format: fn(&u8) -> String, between: &str| {
        bytes.iter().map(format).collect::<Vec<_>>().join(between)
    };
    let mut forms = vec![
        CANARY.to_owned(),
        list(u8::to_string, ", "),
        list(|byte| format!("{byte:02x}"), ""),
        list(|byte| format!("{byte:02X}"), ""),
    ];
    forms.extend(TOKENS.map(str::to_owned));
    // However far into a group of three it begins, without what its neighbours have a part in.
    forms.extend((0..3).map(|before| {
        let encoded = STANDARD.encode([&vec![0; before][..], bytes].concat());
        let whole = (before + bytes.len()) / 3 * 4;
        encoded[before.div_ceil(3) * 4..whole].to_owned()
    }));
    forms
}

#[test]
fn every_form_of_a_canary_is_found() {
    let bytes = CANARY.as_bytes();
    let mut lines = vec![
        CANARY.to_owned(),
        format!("{bytes:?}"),
        format!("{:02x?}", bytes).replace(", ", ""),
        format!("{:02X?}", bytes).replace(", ", ""),
        "token=eyJhbGciOiJIUzI1NiJ9.e30.".to_owned(),
    ];
    lines.extend((0..3).map(|before| {
        let text = [&b"xyz"[..before], bytes, b"more"].concat();
        STANDARD.encode(text)
    }));
    for line in lines {
        let log = format!("INFO serving\nWARN refused {line} of ann\nINFO more\n");
        let found = leak(&log).unwrap_or_else(|| panic!("not found: {line}"));
        assert!(found.starts_with("WARN"), "{found}");
    }
    assert_eq!(leak("INFO serving eyJ [99, 65, 110] 63416e 0123456789abcdef"), None);
}
