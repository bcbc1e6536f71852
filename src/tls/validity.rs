//! From when until when a certificate holds (RFC 5280 §4.1.2.5).

use simple_asn1::{ASN1Block, from_der};

/// Both ends are inclusive, s since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Validity {
    /// `None`: it cannot be read off.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let blocks = from_der(certificate).ok()?;
        let [ASN1Block::Sequence(_, certificate)] = blocks.as_slice() else { return None };
        let ASN1Block::Sequence(_, signed) = certificate.first()? else { return None };
        // The only part of it that is two times.
        signed.iter().find_map(|block| match block {
            ASN1Block::Sequence(_, parts) => match parts.as_slice() {
                [from, to] => Some(Self { not_before: seconds(from)?, not_after: seconds(to)? }),
                _ => None,
            },
            _ => None,
        })
    }
}

fn seconds(block: &ASN1Block) -> Option<i64> {
    match block {
        ASN1Block::UTCTime(_, time) | ASN1Block::GeneralizedTime(_, time) => {
            Some(time.assume_utc().unix_timestamp())
        }
        _ => None,
    }
}
