//! A text that comes in several frames (RFC 6455 §5.4).

use crate::model::LIMITS;
use crate::protocol::CloseCode;

/// What has come of it.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    bytes: Vec<u8>,
    /// So much of it is whole UTF-8.
    valid: usize,
    frames: usize,
}

impl Fragments {
    /// Whether one more frame of so many bytes may come.
    pub(super) fn judge(&self, payload_bytes: usize) -> Result<(), CloseCode> {
        if self.frames >= LIMITS.fragments_max {
            return Err(CloseCode::TOO_MANY_FRAGMENTS);
        }
        if self.bytes.len() + payload_bytes > LIMITS.message_bytes_max {
            return Err(CloseCode::TOO_LARGE);
        }
        Ok(())
    }

    /// Takes the next; bytes that no text has are told at once, a character may go on in the next frame.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), CloseCode> {
        self.frames += 1;
        self.bytes.extend_from_slice(payload);
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(text) => self.valid += text.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(CloseCode::BAD_UTF8),
        }
        Ok(())
    }

    /// The whole text.
    pub(super) fn finish(self) -> Result<String, CloseCode> {
        // Checked but for the end, which may be cut off.
        if self.valid < self.bytes.len() {
            return Err(CloseCode::BAD_UTF8);
        }
        String::from_utf8(self.bytes).map_err(|_| CloseCode::BAD_UTF8)
    }
}
