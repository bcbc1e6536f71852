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
}
