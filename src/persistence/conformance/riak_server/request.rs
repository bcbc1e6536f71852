//! What a request asks for, taken from its line and its headers.

use std::collections::HashMap;

use axum::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH};
use hyper::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::object::Clock;
use super::replicas::{Bucket, Name, QUORUM, REPLICAS};

/// A request, with all of its body.
pub struct Request {
    /// GET, PUT, ….
    pub method: Method,
    /// What it is about.
    pub target: Target,
    /// The options behind the `?`, decoded.
    pub options: Options,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What a request is about.
pub enum Target {
    /// `/ping`
    Ping,
    /// `/stats`
    Stats,
    /// `/types/{type}/props`, and those of a bucket, which are the same.
    Props(String),
    /// `/types/{type}/buckets/{bucket}/keys/{key}`
    Object(Name),
    /// `/types/{type}/buckets/{bucket}/index/$key/{first}/{last}`; of one key where there is no last.
    Keys {
        /// Of which bucket.
        bucket: Bucket,
        /// From which key.
        first: String,
        /// To which key, with it.
        last: String,
    },
    /// Anything else.
    Unknown,
}

/// Why a request is answered 400, as text.
pub struct Malformed(pub String);

impl Target {
    /// Empty parts of a path do not count, and `+` is a space: so has it webmachine, which nodes serve with.
    pub fn parse(uri: &Uri) -> Result<Self, Malformed> {
        let parts = uri.path().split('/').filter(|part| !part.is_empty()).map(decoded);
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let bucket = |bucket_type: &str, name: &str| Bucket {
            bucket_type: bucket_type.to_owned(),
            name: name.to_owned(),
        };
        Ok(match parts[..] {
            ["ping"] => Self::Ping,
            ["stats"] => Self::Stats,
            ["types", of_type, "props"] | ["types", of_type, "buckets", _, "props"] => {
                Self::Props(of_type.to_owned())
            }
            ["types", of_type, "buckets", name, "keys", key] => {
                Self::Object(Name { bucket: bucket(of_type, name), key: key.to_owned() })
            }
            ["types", of_type, "buckets", name, "index", "$key", first, ref last @ ..]
                if last.len() <= 1 =>
            {
                let last = last.first().unwrap_or(&first);
                let (first, last) = (first.to_owned(), (*last).to_owned());
                Self::Keys { bucket: bucket(of_type, name), first, last }
            }
            _ => Self::Unknown,
        })
    }

    /// The bucket type, where it has one.
    pub fn bucket_type(&self) -> Option<&str> {
        match self {
            Self::Props(of_type) => Some(of_type),
            Self::Object(name) => Some(&name.bucket.bucket_type),
            Self::Keys { bucket, .. } => Some(&bucket.bucket_type),
            Self::Ping | Self::Stats | Self::Unknown => None,
        }
    }
}

/// The options behind the `?`.
pub struct Options(HashMap<String, String>);

impl Options {
    /// Of a request's line.
    pub fn parse(uri: &Uri) -> Result<Self, Malformed> {
        let options =
            uri.query().unwrap_or_default().split('&').filter(|option| !option.is_empty());
        let options = options.map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, "true"));
            Ok((decoded(name)?, decoded(value)?))
        });
        options.collect::<Result<_, _>>().map(Self)
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number of replicas; what the bucket type says where it is not told.
    pub fn replicas(&self, name: &str, props: &Value) -> Result<usize, Malformed> {
        let word = match self.get(name) {
            None | Some("default") => match &props[name] {
                Value::Number(number) => number.to_string(),
                word => word.as_str().unwrap_or("quorum").to_owned(),
            },
            Some(word) => word.to_owned(),
        };
        let count = match word.as_str() {
            "quorum" => QUORUM,
            "all" => REPLICAS,
            "one" => 1,
            number => number.parse().map_err(|_| {
                Malformed(format!(
                    "{name} query parameter must be an integer or one of the following words: \
                     'one', 'quorum' or 'all'\n"
                ))
            })?,
        };
        if count > REPLICAS {
            return Err(Malformed(format!(
                "Specified {name} values invalid for bucket n value of {REPLICAS}\n"
            )));
        }
        Ok(count)
    }

    /// A yes or a no; what the bucket type says where it is not told.
    pub fn flag(&self, name: &str, props: &Value) -> Result<bool, Malformed> {
        match self.get(name) {
            None => Ok(props[name].as_bool().unwrap_or(false)),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Malformed(format!("{name} query parameter must be true or false\n"))),
        }
    }

    /// A number above 0.
    pub fn number(&self, name: &str) -> Result<Option<usize>, Malformed> {
        let number = self.get(name).map(str::parse).transpose();
        number
            .ok()
            .filter(|number| *number != Some(0))
            .ok_or_else(|| Malformed(format!("Bad {name} value\n")))
    }
}

/// What a PUT wants to be the case before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing can be read.
    Absent,
    /// The object is that of this context.
    Unchanged(Clock),
}

impl Request {
    /// What its writer had read.
    pub fn context(&self) -> Result<Option<Clock>, Malformed> {
        self.clock("x-riak-vclock")
    }

    /// What it wants to be the case.
    pub fn condition(&self) -> Result<Option<Condition>, Malformed> {
        let unchanged = self.clock("x-riak-if-not-modified")?.map(Condition::Unchanged);
        if self.headers.contains_key(IF_NONE_MATCH) {
            return Ok(Some(Condition::Absent));
        }
        Ok(unchanged)
    }

    /// The type of what it stores.
    pub fn media_type(&self) -> Result<String, Malformed> {
        let media_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let missing = || Malformed("Missing Content-Type request header\n".to_owned());
        media_type.map(str::to_owned).ok_or_else(missing)
    }

    /// Whether siblings may be told with what they are.
    pub fn accepts_multipart(&self) -> bool {
        let accepted = self.headers.get_all(ACCEPT).into_iter();
        accepted.flat_map(|value| value.to_str()).any(|value| value.contains("multipart/mixed"))
    }

    fn clock(&self, header: &str) -> Result<Option<Clock>, Malformed> {
        let mut values = self.headers.get_all(header).into_iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Malformed(format!("Only one {header} may be specified\n")));
        }
        let clock = value.to_str().ok().and_then(Clock::decode);
        let malformed = || Malformed(format!("Error decoding vector clock in {header} header\n"));
        clock.map(Some).ok_or_else(malformed)
    }
}

fn decoded(text: &str) -> Result<String, Malformed> {
    let malformed = || Malformed(format!("Not a percent-encoded text: {text}\n"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2).ok_or_else(malformed)?;
                rest = behind;
                let digits = str::from_utf8(digits).map_err(|_| malformed())?;
                u8::from_str_radix(digits, 16).map_err(|_| malformed())?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}
