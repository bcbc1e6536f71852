//! As much of EDN as an exported history is made of, read strictly: <https://github.com/edn-format/edn>.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Nil,
    Integer(u64),
    Text(String),
    Keyword(String),
    Vector(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The whole text is one value.
    pub fn parse(text: &str) -> Self {
        let mut chars = text.chars().peekable();
        let value = value(&mut chars);
        assert_eq!(chars.next(), None, "something follows in {text}");
        value
    }

    #[track_caller]
    pub fn get(&self, key: &str) -> &Self {
        let Self::Map(entries) = self else { panic!("{self:?} is no map") };
        let key = Self::Keyword(key.to_owned());
        let mut found = entries.iter().filter(|(name, _)| *name == key);
        let Some((_, value)) = found.next() else { panic!("no {key:?} in {self:?}") };
        assert!(found.next().is_none(), "{key:?} twice in {self:?}");
        value
    }

    #[track_caller]
    pub fn integer(&self) -> u64 {
        let Self::Integer(number) = self else { panic!("{self:?} is no integer") };
        *number
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Keyword(text) => text,
            _ => panic!("{self:?} is no text"),
        }
    }

    #[track_caller]
    pub fn vector(&self) -> &[Self] {
        let Self::Vector(values) = self else { panic!("{self:?} is no vector") };
        values
    }
}

fn value(chars: &mut Peekable<Chars<'_>>) -> Value {
    match chars.next().expect("a value") {
        '{' => {
            let values = values(chars, '}');
            assert_eq!(values.len() % 2, 0, "a map is of pairs: {values:?}");
            Value::Map(values.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        '[' => Value::Vector(values(chars, ']')),
        '"' => text(chars),
        ':' => Value::Keyword(word(chars, String::new())),
        first => match word(chars, first.into()).as_str() {
            "nil" => Value::Nil,
            number => {
                assert!(number == "0" || !number.starts_with('0'), "{number} is octal to some");
                Value::Integer(number.parse().expect("an integer"))
            }
        },
    }
}

/// Commas are whitespace.
fn values(chars: &mut Peekable<Chars<'_>>, end: char) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        while chars.next_if(|char| char.is_whitespace() || *char == ',').is_some() {}
        if chars.next_if_eq(&end).is_some() {
            return all;
        }
        all.push(value(chars));
    }
}

fn text(chars: &mut Peekable<Chars<'_>>) -> Value {
    let mut text = String::new();
    loop {
        text.push(match chars.next().expect("the end of a string") {
            '"' => return Value::Text(text),
            '\\' => match chars.next().expect("an escape") {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                same @ ('"' | '\\') => same,
                other => panic!("\\{other} is no escape"),
            },
            other => other,
        });
    }
}

fn word(chars: &mut Peekable<Chars<'_>>, mut word: String) -> String {
    let is_part = |char: &char| char.is_ascii_alphanumeric() || ".*+!-_?$%&=<>".contains(*char);
    while let Some(char) = chars.next_if(is_part) {
        word.push(char);
    }
    assert!(!word.is_empty(), "an empty word");
    word
}
