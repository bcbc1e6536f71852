//! `.env.example`: the table as a file to copy.

use super::VARIABLES;

/// The text of `.env.example`: every variable with what it is for and its default.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Copy to .env and change what you need. Flags override the environment, the environment\n\
         # overrides .env. Set to nothing means: the default.\n\
         # Generated from the table in src/config/variables.rs: chatctl serve --print-env-example\n",
    );
    for variable in VARIABLES {
        let default = variable.default.unwrap_or_default();
        text += &format!(
            "\n# {}.\n# Allowed: {}.\n{}={default}\n",
            variable.doc,
            variable.kind.allowed(),
            variable.key
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_what_the_table_generates() {
        let committed = include_str!("../../.env.example");
        assert!(
            committed == env_example(),
            "run: cargo run --release -- serve --print-env-example > .env.example"
        );
    }

    #[test]
    fn it_reads_back_as_the_defaults() {
        let text = env_example();
        let entries: Vec<_> =
            dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap();
        let expected: Vec<_> = VARIABLES
            .iter()
            .map(|variable| {
                (variable.key.to_owned(), variable.default.unwrap_or_default().to_owned())
            })
            .collect();
        assert_eq!(entries, expected);
    }
}
