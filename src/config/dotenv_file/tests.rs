//! What `init-env` may do to a user's `.env`, and what it may not.

use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const REDIS: &str = "redis://127.0.0.1:16379";

fn values() -> Vec<(&'static str, String)> {
    vec![("REDIS_URL", REDIS.to_owned()), ("KAFKA_BROKERS", "127.0.0.1:19092".to_owned())]
}

fn merge(existing: Option<&str>, values: &[(&str, String)]) -> DotenvMerge {
    let merged = DotenvMerge::of_text(existing, values).unwrap();
    let again = DotenvMerge::of_text(Some(&merged.text), values).unwrap();
    assert_eq!((again.text.as_str(), again.changed), (merged.text.as_str(), false), "twice");
    assert!(again.written.is_empty(), "{again:?}");
    merged
}

fn read(text: &str) -> BTreeMap<String, String> {
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_new_file_says_where_the_rest_is_listed() {
    let merged = merge(None, &values());
    assert_eq!(merged.written, ["REDIS_URL", "KAFKA_BROKERS"]);
    assert!(merged.changed && merged.kept.is_empty());
    assert!(merged.text.starts_with("# What chatctl is told"), "{}", merged.text);
    assert!(merged.text.contains("\n# The Redis server of the REDIS engines.\nREDIS_URL=redis:"));
    assert_eq!(read(&merged.text)["REDIS_URL"], REDIS);
}

#[rstest]
#[case("REDIS_URL=mine\n", "mine")]
#[case("export REDIS_URL='mine' # why\n", "mine")]
#[case("REDIS_URL=\"mi\nne\"\n", "mi\nne")]
#[case("REDIS_URL=mine", "mine")]
#[case("A=1\r\nREDIS_URL=mine\r\n", "mine")]
#[case("REDIS_URL=\n", "")]
fn what_the_user_set_is_the_users(#[case] existing: &str, #[case] value: &str) {
    let merged = merge(Some(existing), &values());
    assert!(merged.text.starts_with(existing));
    assert_eq!(read(&merged.text)["REDIS_URL"], value);
    assert_eq!(merged.written, ["KAFKA_BROKERS"]);
    let kept =
        KeptVariable { key: "REDIS_URL".to_owned(), place: KeptPlace::Outside, agrees: false };
    assert_eq!(merged.kept, [kept]);
    if existing.contains("\r\n") {
        assert_eq!(merged.text.matches('\n').count(), merged.text.matches("\r\n").count());
    }
}

#[test]
fn a_commented_line_is_no_value() {
    let merged = merge(Some("# REDIS_URL=mine\n"), &values());
    assert_eq!(read(&merged.text)["REDIS_URL"], REDIS);
}

#[test]
fn our_own_values_follow_the_services() {
    let first = merge(Some("A=1\n"), &values()).text + "B=2\n";
    let moved = [("REDIS_URL", "redis://127.0.0.1:26379".to_owned())];
    let merged = merge(Some(&first), &moved);
    assert_eq!(merged.written, ["REDIS_URL"]);
    let read = read(&merged.text);
    assert_eq!(read["REDIS_URL"], "redis://127.0.0.1:26379");
    assert_eq!(read["KAFKA_BROKERS"], "127.0.0.1:19092", "an earlier run's stays");
    assert!(merged.text.starts_with("A=1\n") && merged.text.ends_with("B=2\n"));
}

#[test]
fn a_value_that_the_user_adds_later_is_not_hidden_by_ours() {
    let first = format!("REDIS_URL=mine\n{}", merge(None, &values()).text);
    let merged = merge(Some(&first), &values());
    assert_eq!(read(&merged.text)["REDIS_URL"], "mine");
    let both: Vec<_> = values().into_iter().chain([("CASSANDRA_HOSTS", String::new())]).collect();
    let all_theirs = "REDIS_URL=a\nKAFKA_BROKERS=b\nCASSANDRA_HOSTS=c\n";
    assert!(!merge(Some(all_theirs), &both).changed);
}

#[test]
fn an_edited_block_is_left_alone() {
    let first = merge(Some("A=1\n"), &values()[..1]).text;
    let edited = first.replace("16379", "1");
    let merged = merge(Some(&edited), &values());
    assert!(merged.text.starts_with(&edited));
    assert_eq!(merged.written, ["KAFKA_BROKERS"]);
    assert_eq!(merged.kept[0].place, KeptPlace::EditedBlock);
    assert!(!merged.kept[0].agrees);
}

#[test]
fn a_block_that_changed_its_line_ends_is_still_ours() {
    let first = merge(Some("A=1\n"), &values()).text.replace('\n', "\r\n");
    assert!(merge(Some(&first), &values()).kept.is_empty());
}

#[test]
fn a_block_without_an_end_is_named() {
    let cut = merge(Some("A=1\n"), &values()).text.replace(END, "");
    let error = DotenvMerge::of_text(Some(&cut), &values()).unwrap_err();
    assert_eq!(error, DotenvMergeError::Unfinished { line: 3 });
    let error = DotenvMerge::of_text(Some("secret word\n"), &values()).unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

#[rstest]
#[case(None, 0o600)]
#[case(Some(0o640), 0o640)]
fn permissions_are_kept(#[case] before: Option<u32>, #[case] after: u32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    if let Some(mode) = before {
        fs::write(&path, "A=1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let merged = DotenvMerge::of_file(&path, &values()).unwrap();
    merged.write(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), merged.text);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, after);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(!DotenvMerge::of_file(&path, &values()).unwrap().changed);
}

proptest! {
    #[test]
    fn every_value_reads_back(value in "(?s).{0,40}", other in r#"[$"'\\# \n{}a]{0,12}"#) {
        let values = [("REDIS_URL", value.clone()), ("KAFKA_BROKERS", other.clone())];
        let merged = merge(None, &values);
        let read = read(&merged.text);
        prop_assert_eq!(&read["REDIS_URL"], &value);
        prop_assert_eq!(&read["KAFKA_BROKERS"], &other);
        // In a file of the other kind a bare carriage return before a newline must survive, too.
        let merged = merge(Some("A=1\r\n"), &values);
        let read = self::read(&merged.text);
        prop_assert_eq!(&read["REDIS_URL"], &value);
    }
}
