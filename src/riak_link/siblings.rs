//! The values of an object that several wrote at once, as `multipart/mixed`.

use bytes::Bytes;

/// The bodies of the parts; `None` for what is no such text.
pub fn split(content_type: &str, body: &Bytes) -> Option<Vec<Bytes>> {
    let boundary = content_type
        .strip_prefix("multipart/mixed")?
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))?
        .trim_matches('"');
    if boundary.is_empty() {
        return None;
    }
    let delimiter = format!("\r\n--{boundary}");
    // The line break before the first delimiter may be missing.
    let first = &delimiter.as_bytes()[2..];
    let mut at = match body.starts_with(first) {
        true => first.len(),
        false => find(body, delimiter.as_bytes())? + delimiter.len(),
    };
    let mut bodies = Vec::new();
    while !body.get(at..)?.starts_with(b"--") {
        let end = at + find(body.get(at..)?, delimiter.as_bytes())?;
        let part = body.get(at..end)?;
        const HEAD_END: &[u8] = b"\r\n\r\n";
        let begin = find(part, HEAD_END)? + HEAD_END.len();
        bodies.push(body.slice(at + begin..end));
        at = end + delimiter.len();
    }
    Some(bodies)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "\r\n--b1\r\nContent-Type: application/json\r\nEtag: x\r\n\r\n{\"a\":1}\r\n--b1\r\nEtag: y\r\n\r\n\r\n--b1--\r\n";

    #[test]
    fn the_parts_are_those_between_the_delimiters() {
        let whole = split("multipart/mixed; boundary=b1", &Bytes::from_static(BODY.as_bytes()));
        assert_eq!(whole.unwrap(), ["{\"a\":1}", ""]);
        let without_break = Bytes::copy_from_slice(&BODY.as_bytes()[2..]);
        assert_eq!(split("multipart/mixed; boundary=\"b1\"", &without_break).unwrap().len(), 2);
    }

    #[test]
    fn what_is_cut_or_something_else_is_not_read() {
        for length in 0..BODY.len() - 4 {
            let cut = Bytes::copy_from_slice(&BODY.as_bytes()[..length]);
            assert!(split("multipart/mixed; boundary=b1", &cut).is_none(), "{length}");
        }
        let body = Bytes::from_static(BODY.as_bytes());
        for kind in ["", "text/plain", "multipart/mixed", "multipart/mixed; boundary="] {
            assert!(split(kind, &body).is_none(), "{kind}");
        }
    }
}
