//! Taking typed fields out of a command's body; every error names the field by its dotted path.

use serde_json::{Map, Value};

use super::ErrorBody;
use crate::model::{ConvId, INTEGER_MAX, InvalidName};

/// The fields of one JSON object. An absent field is left out; `null` is a wrong type.
pub(super) struct Fields {
    prefix: &'static str,
    map: Map<String, Value>,
    unknown_conv: bool,
}

impl Fields {
    pub(super) fn new(prefix: &'static str, map: Map<String, Value>) -> Self {
        Self { prefix, map, unknown_conv: false }
    }

    /// The error for `key`.
    pub(super) fn invalid(&self, key: &str, expected: &str) -> ErrorBody {
        let field =
            if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) };
        ErrorBody::invalid_field(field, expected)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A required value.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, ErrorBody> {
        value.ok_or_else(|| self.invalid(key, "present"))
    }

    pub(super) fn string(&mut self, key: &str) -> Result<Option<String>, ErrorBody> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(key, "a string")),
        }
    }

    /// A string that is a name of some kind.
    pub(super) fn name<T>(
        &mut self,
        key: &str,
        new: impl FnOnce(&str) -> Result<T, InvalidName>,
    ) -> Result<Option<T>, ErrorBody> {
        match self.string(key)? {
            None => Ok(None),
            Some(text) => match new(&text) {
                Ok(name) => Ok(Some(name)),
                Err(error) => Err(self.invalid(key, error.expected)),
            },
        }
    }

    pub(super) fn integer(
        &mut self,
        key: &str,
        allowed: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ErrorBody> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if allowed.contains(&number) => Ok(Some(number)),
                _ => {
                    let expected =
                        format!("an integer from {} to {}", allowed.start(), allowed.end());
                    Err(self.invalid(key, &expected))
                }
            },
        }
    }

    /// Any integer that the protocol can carry.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<u64>, ErrorBody> {
        self.integer(key, 0..=INTEGER_MAX)
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>, ErrorBody> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(self.invalid(key, "true or false")),
        }
    }

    pub(super) fn object(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Map<String, Value>>, ErrorBody> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.invalid(key, "an object")),
        }
    }

    /// An array of `[lo, hi]` pairs of integers.
    pub(super) fn pairs(
        &mut self,
        key: &str,
        count_max: usize,
    ) -> Result<Option<Vec<(u64, u64)>>, ErrorBody> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        let expected = "an array of [lo, hi] pairs of integers with 1 ≤ lo < hi";
        let Value::Array(values) = value else { return Err(self.invalid(key, expected)) };
        if values.len() > count_max {
            return Err(self.invalid(key, &format!("at most {count_max} ranges")));
        }
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([lo, hi]) => Some((lo.as_u64()?, hi.as_u64()?)),
            _ => None,
        };
        let pairs: Option<Vec<_>> = values.iter().map(pair).collect();
        match pairs {
            Some(pairs)
                if pairs.iter().all(|&(lo, hi)| lo >= 1 && lo < hi && hi <= INTEGER_MAX) =>
            {
                Ok(Some(pairs))
            }
            _ => Err(self.invalid(key, expected)),
        }
    }

    /// The conversation. A string that cannot be one is `not_found`, but only after the shape of the
    /// whole body was judged: [`Fields::finish`] answers it.
    pub(super) fn conv(&mut self) -> Result<ConvId, ErrorBody> {
        let text = self.string("conv")?;
        let text = self.required("conv", text)?;
        if !ConvId::is_opaque_form(&text) {
            let expected = format!("1 to {} visible ASCII characters", ConvId::CHARACTERS_MAX);
            return Err(self.invalid("conv", &expected));
        }
        Ok(ConvId::parse(&text).unwrap_or_else(|| {
            self.unknown_conv = true;
            ConvId::from_bytes(&[0; ConvId::BYTES]).unwrap_or_else(|| unreachable!("18 bytes"))
        }))
    }

    /// Ends the reading; `not_found` if the conversation cannot exist.
    pub(super) fn finish<T>(self, command: T) -> Result<T, ErrorBody> {
        if self.unknown_conv { Err(ErrorBody::not_found()) } else { Ok(command) }
    }
}
