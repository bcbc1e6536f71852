//! The known name that a mistyped one most likely means.

/// The candidate with the fewest edits from `word`, if those are few for its length.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(word, candidate), candidate))
        .min()
        .filter(|&(edits, candidate)| edits * 3 <= candidate.len())
        .map(|(_, candidate)| candidate)
}

/// Ends an error about a word that is none of the candidates: `; did you mean X?`, or nothing where none is near. Capitals do not count.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let word = word.to_ascii_lowercase();
    let mut by_lower: Vec<_> =
        candidates.map(|known| (known.to_ascii_lowercase(), known)).collect();
    by_lower.sort_unstable();
    let found = nearest(&word, by_lower.iter().map(|(lower, _)| lower.as_str()));
    let known = found.and_then(|found| by_lower.iter().find(|(lower, _)| lower == found));
    known.map(|(_, known)| format!("; did you mean {known}?")).unwrap_or_default()
}

/// Levenshtein distance over bytes, one row at a time.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (row_index, from_byte) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = row_index + 1;
        for (column, to_byte) in to.bytes().enumerate() {
            let replace = diagonal + usize::from(from_byte != to_byte);
            diagonal = row[column + 1];
            row[column + 1] = replace.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }

    #[test]
    fn what_is_near_is_meant_in_any_capitals() {
        let meant = |word| did_you_mean(word, ["LOCAL", "REDIS", "CASSANDRA"].into_iter());
        assert_eq!(meant("REDI"), "; did you mean REDIS?");
        assert_eq!(meant("casandra"), "; did you mean CASSANDRA?");
        assert_eq!(meant("redis"), "; did you mean REDIS?");
        assert_eq!(meant("postgres"), "");
    }
}
