//! An expression into a gate.

use super::limit::{example, expected_unit, in_unit};
use super::parse_error::ParseError;
use super::quantity::{correctness_counts, error_codes, is_error_code};
use super::{Gate, Operator, Quantity, Stat};
use crate::bench::correctness::Correctness;
use crate::nearest::nearest;

/// Reads one expression to its end.
pub fn parse(expression: &str) -> Result<Gate, ParseError> {
    let expression = expression.trim();
    let mut cursor = Cursor { text: expression, at: 0 };
    let quantity = cursor.quantity()?;
    cursor.skip_spaces();
    let operator = cursor.operator()?;
    cursor.skip_spaces();
    let limit = cursor.limit(&quantity)?;
    cursor.skip_spaces();
    if !cursor.rest().is_empty() {
        return Err(cursor.expected("the end of the expression"));
    }
    Ok(Gate { expression: expression.to_owned(), quantity, operator, limit, place: None })
}

/// `; did you mean …?` where a known name is near.
pub(super) fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(word, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// An unknown word: the known one that it most likely means, or all of them.
pub(super) fn unknown(problem: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(_) => format!("{problem}{}", meant(word, known.iter().copied())),
        None => format!("{problem}; expected one of {}", known.join(", ")),
    }
}

struct Cursor<'a> {
    text: &'a str,
    /// Bytes that were read.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, problem: String) -> ParseError {
        let column = self.text[..at].chars().count();
        ParseError { expression: self.text.to_owned(), column, problem, place: None }
    }

    fn expected(&self, what: &str) -> ParseError {
        self.error(self.at, format!("expected {what}"))
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    }

    /// The word after a point.
    fn name(&mut self, expected: &str) -> Result<&'a str, ParseError> {
        if !self.take(".") {
            return Err(self.expected(&format!("`.` and {expected}")));
        }
        match self.word() {
            "" => Err(self.expected(expected)),
            name => Ok(name),
        }
    }

    fn quantity(&mut self) -> Result<Quantity, ParseError> {
        let kind = self.word();
        let name = match kind {
            "" => {
                let kinds = Quantity::KINDS.join(", ");
                return Err(self.expected(&format!("a latency, like write.p99, or one of {kinds}")));
            }
            "errors" if self.rest().starts_with('.') => {
                let code = self.name("a code, like timeout")?;
                return self.error_code(code).map(|code| Quantity::Errors(Some(code)));
            }
            "errors" => return Ok(Quantity::Errors(None)),
            _ if !Quantity::KINDS.contains(&kind) => return self.latency(kind),
            "rate" => self.name("a name, like messages_per_s")?,
            "count" => self.name("a name, like sent")?,
            "correctness" => self.name("a name, like lost")?,
            "duration" => self.name("a name, like talking")?,
            _ => self.name("a name, like syncs_per_message")?,
        };
        let name = name.to_owned();
        Ok(match kind {
            "rate" => Quantity::Rate(name),
            "figure" => Quantity::Figure(name),
            "server" => Quantity::Server(name),
            "count" => Quantity::Count(name),
            "duration" => Quantity::Duration(name),
            _ => Quantity::Correctness(self.correctness(name)?),
        })
    }

    /// `name` was read; a point and a stat follow.
    fn latency(&mut self, name: &str) -> Result<Quantity, ParseError> {
        let begin = self.at - name.len();
        let stats = Stat::ALL.map(|(name, _)| name);
        let read = self.name(&format!("a number of this latency: {}", stats.join(", ")));
        let stat = read.as_ref().ok().and_then(|word| Stat::ALL.iter().find(|(n, _)| n == word));
        if let Some(&(_, stat)) = stat {
            return Ok(Quantity::Latency { name: name.to_owned(), stat });
        }
        if nearest(name, Quantity::KINDS.into_iter()).is_some() {
            let meant = meant(name, Quantity::KINDS.into_iter());
            return Err(self.error(begin, format!("there is no `{name}`{meant}")));
        }
        let word = read?;
        let problem = unknown(&format!("no latency has a `{word}`"), word, &stats);
        Err(self.error(self.at - word.len(), problem))
    }

    fn error_code(&self, code: &str) -> Result<String, ParseError> {
        if is_error_code(code) {
            return Ok(code.to_owned());
        }
        let known = error_codes();
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        let problem = unknown(&format!("no error has the code `{code}`"), code, &known);
        Err(self.error(self.at - code.len(), problem))
    }

    fn correctness(&self, name: String) -> Result<String, ParseError> {
        let counts = correctness_counts(&Correctness::default());
        let known: Vec<_> = counts.iter().map(|&(name, _)| name).collect();
        if known.contains(&name.as_str()) {
            return Ok(name);
        }
        let problem = unknown(&format!("correctness has no `{name}`"), &name, &known);
        Err(self.error(self.at - name.len(), problem))
    }

    fn operator(&mut self) -> Result<Operator, ParseError> {
        let found = Operator::ALL.into_iter().find(|(token, _)| self.take(token));
        found.map(|(_, operator)| operator).ok_or_else(|| self.expected("<, <=, >, >= or =="))
    }

    fn limit(&mut self, quantity: &Quantity) -> Result<f64, ParseError> {
        let unit = quantity.unit();
        let number = || format!("a number, like {}", example(unit));
        let (begin, digit) = (self.at, |c: char| c.is_ascii_digit());
        if self.take_while(digit).is_empty() {
            return Err(self.expected(&number()));
        }
        if self.take(".") && self.take_while(digit).is_empty() {
            return Err(self.expected("digits after the point"));
        }
        let digits = &self.text[begin..self.at];
        self.skip_spaces();
        let unit_at = self.at;
        let written = match self.take("%") {
            true => "%",
            false => self.take_while(|c| c.is_alphanumeric() || c == '_'),
        };
        match in_unit(digits, written, unit) {
            Some(limit) if limit.is_finite() => Ok(limit),
            Some(_) => Err(self.error(begin, "this number is too large".to_owned())),
            None => Err(self.error(unit_at, format!("expected {}", expected_unit(unit)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("write.p99<20ms", Operator::Less, 20_000.0)]
    #[case("  write.p99 <= 20 ms ", Operator::LessOrEqual, 20_000.0)]
    #[case("read-at-random-ts-1000000.max>0.5s", Operator::Greater, 500_000.0)]
    #[case("write_service.mean<3\u{b5}s", Operator::Less, 3.0)]
    #[case("delivery.count>=10k", Operator::GreaterOrEqual, 10_000.0)]
    #[case("errors<0.1%", Operator::Less, 0.1)]
    #[case("errors==0", Operator::Equal, 0.0)]
    #[case("errors.closed_4408<1%", Operator::Less, 1.0)]
    #[case("errors.rate_limited<1%", Operator::Less, 1.0)]
    #[case("server.cpu_us_per_message<120", Operator::Less, 120.0)]
    #[case("rate.messages_per_s>5000", Operator::Greater, 5_000.0)]
    #[case("figure.syncs_per_message<=0.5", Operator::LessOrEqual, 0.5)]
    #[case("correctness.lost==0", Operator::Equal, 0.0)]
    #[case("count.sent>=1M", Operator::GreaterOrEqual, 1_000_000.0)]
    #[case("duration.talking<1.5m", Operator::Less, 90.0)]
    fn what_is_written_is_meant(
        #[case] expression: &str,
        #[case] operator: Operator,
        #[case] limit: f64,
    ) {
        let gate = parse(expression).unwrap();
        assert_eq!((gate.operator, gate.limit), (operator, limit));
        assert_eq!(gate.expression, expression.trim());
    }

    #[rstest]
    #[case("", 0, "a latency, like write.p99")]
    #[case("<20ms", 0, "one of errors, rate")]
    #[case("write<20ms", 5, "`.` and a number of this latency: min, mean, p50")]
    #[case("write .p99<20ms", 5, "`.` and")]
    #[case("write.<20ms", 6, "min, mean, p50")]
    #[case("write.p98<20ms", 6, "did you mean `p90`?")]
    #[case("write.median<20ms", 6, "expected one of min, mean")]
    #[case("error<1%", 0, "did you mean `errors`?")]
    #[case("rates.messages_per_s>1", 0, "did you mean `rate`?")]
    #[case("errors.timeot==0", 7, "did you mean `timeout`?")]
    #[case("errors.<1%", 7, "a code")]
    #[case("correctness.losd==0", 12, "did you mean `lost`?")]
    #[case("count>5", 5, "`.` and a name, like sent")]
    #[case("figure.>5", 7, "a name, like syncs_per_message")]
    #[case("write.p99", 9, "expected <, <=, >, >= or ==")]
    #[case("write.p99=20ms", 9, "expected <, <=, >, >= or ==")]
    #[case("write.p99 != 20ms", 10, "expected <, <=, >, >= or ==")]
    #[case("write.p99<<20ms", 10, "expected a number, like 20ms")]
    #[case("write.p99< ", 10, "expected a number, like 20ms")]
    #[case("errors<-1%", 7, "expected a number, like 0.1%")]
    #[case("write.p99<.5s", 10, "expected a number")]
    #[case("write.p99<5.s", 12, "digits after the point")]
    #[case("write.p99<20", 12, "a unit of time: ns, us, ms, s or m")]
    #[case("write.p99<20h", 12, "a unit of time")]
    #[case("write.p99<20%", 12, "a unit of time")]
    #[case("write.p99<1e3us", 11, "a unit of time")]
    #[case("errors<0.1", 10, "expected %")]
    #[case("errors<5ms", 8, "expected %")]
    #[case("rate.messages_per_s>5%", 21, "expected k, M or nothing")]
    #[case("rate.messages_per_s>5K", 21, "expected k, M or nothing")]
    #[case("count.sent>1,000", 12, "expected the end")]
    #[case("write.p99<20\u{b5}s && read.p99<1s", 15, "expected the end")]
    #[case("write\u{301}.p99<20ms", 5, "`.` and")]
    fn an_error_points_at_its_place(
        #[case] expression: &str,
        #[case] column: usize,
        #[case] problem: &str,
    ) {
        let error = parse(expression).unwrap_err();
        assert_eq!(error.column, column, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        insta::assert_snapshot!(parse("write.p99 << 20ms").unwrap_err());
        let broken = parse("write.p99\n<20\tkg").unwrap_err().to_string();
        assert_eq!(broken.lines().count(), 3, "{broken:?}");
    }

    #[test]
    fn a_number_beyond_all_bounds_is_refused() {
        let error = parse(&format!("count.sent<{}", "9".repeat(400))).unwrap_err();
        assert_eq!((error.column, error.problem.as_str()), (11, "this number is too large"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".*") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.column <= text.chars().count());
                let _ = error.to_string();
            }
        }

        #[test]
        fn no_row_of_tokens_breaks_it(
            tokens in prop::collection::vec(
                prop::sample::select(vec![
                    "write", "p99", "errors", "rate", "server", "correctness", "lost", ".", "<", "<=",
                    "==", ">", "20", "0.5", "ms", "\u{b5}s", "%", "k", " ", "\t", "-", "\u{20ac}",
                ]),
                0..9,
            ),
        ) {
            let text = tokens.concat();
            match parse(&text) {
                Ok(gate) => prop_assert!(gate.limit.is_finite()),
                Err(error) => prop_assert!(error.column <= text.chars().count()),
            }
        }
    }
}
