//! The documents before the parsers of those who wrote the formats.

use std::path::Path;

use tokio::process::Command;

use super::schema::{DOCS, FOLDER, MODULES};

async fn lint(docs: &Path) -> (bool, String) {
    let mut node = Command::new("node");
    let output = node.arg("lint.mjs").arg(docs).current_dir(FOLDER).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn they_find_no_error_and_would_find_one() {
    if MODULES.get().await.is_none() {
        return;
    }
    let (is_good, said) = lint(Path::new(DOCS)).await;
    println!("{said}");
    assert!(is_good, "{said}");
    let spoiled = tempfile::tempdir().unwrap();
    let spoil = [
        ("asyncapi.json", "\"action\": \"receive\"", "\"action\": \"take\""),
        ("openapi.json", "\"responses\"", "\"answers\""),
        ("openapi-admin.json", "#/components/schemas/Report", "#/components/schemas/Nothing"),
        ("frames.schema.json", "\"#/$defs/UserName\"", "\"#/$defs/Nobody\""),
    ];
    for (name, good, bad) in spoil {
        let text = std::fs::read_to_string(Path::new(DOCS).join(name)).unwrap();
        assert!(text.contains(good), "{name}");
        std::fs::write(spoiled.path().join(name), text.replace(good, bad)).unwrap();
    }
    let (is_good, said) = lint(spoiled.path()).await;
    assert!(!is_good, "{said}");
    for (name, ..) in spoil {
        assert!(said.contains(&format!("{name}: error: ")), "{name} is found good: {said}");
    }
}
