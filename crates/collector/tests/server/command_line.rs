//! The verbs as they are typed.

use std::fs;

use serde_json::Value;

use crate::made::rating;
use crate::postgres;
use crate::program::{Folder, run, text};
use crate::stand::{block_on, ids};

#[test]
fn what_is_typed_wrongly_ends_with_status_2_and_says_what_to_type() {
    let folder = Folder::new();
    let (root, site) = (folder.root.path(), folder.root.path().join("site"));
    let file = root.join("file");
    fs::write(&file, "no bundle").unwrap();
    let (root, site, file) = (text(root), text(&site), text(&file));
    let cases: [(&[&str], &str); 9] = [
        (&["--data", root], "--site DIR"),
        (&["--site", root, "--data", root], "trunk build"),
        (&["--site", site], "--data DIR"),
        (&["--site", site, "--data", file], "cannot be used"),
        (&["--site", site, "--database", "mysql://secret"], "postgres://USER"),
        (&["token", "list"], "--data DIR"),
        (&["token", "revoke", "--data", root, "0"], "there is no token 0"),
        (&["restore", "--data", root, "/nowhere"], "no backup"),
        (&["copy", "--from", "sqlite:/nowhere", "--to", "sqlite:new.db"], "no database"),
    ];
    for (words, said) in cases {
        let output = run(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error} has {said}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert_eq!(run(&["--no-such-option"]).status.code(), Some(2));
    fs::write(folder.root.path().join("site/policies/bad.kudos"), "no bundle").unwrap();
    let output = run(&["--site", site, "--data", root]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.kudos"));
}

#[test]
fn a_token_is_printed_once_kept_as_a_hash_and_worthless_when_revoked() {
    let folder = Folder::new();
    let (token, other) = (folder.token(), folder.token());
    let data = folder.data();
    let running = folder.start();
    assert_eq!(running.get("/v1/raters", &token).status, 200);
    let listed = run(&["token", "list", "--data", text(&data)]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let id = token.split('_').nth(1).unwrap();
    assert!(listed.lines().count() == 2 && listed.contains(id), "{listed}");
    let secret = token.split('_').nth(2).unwrap();
    assert!(!listed.contains(secret));
    for file in fs::read_dir(&data).unwrap().flatten().filter(|it| it.path().is_file()) {
        let bytes = fs::read(file.path()).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the secret is in {:?}", file.path());
    }
    assert!(run(&["token", "revoke", "--data", text(&data), id]).status.success());
    assert_eq!(running.get("/v1/raters", &token).status, 401, "at once");
    assert_eq!(running.get("/v1/raters", &other).status, 200);
    running.stop();
}

#[test]
fn a_backup_of_a_running_collector_is_restored_whole() {
    let folder = Folder::new();
    let token = folder.token();
    let running = folder.start();
    let ratings: Vec<Value> = (0..20).map(|_| rating(&folder.policy)).collect();
    assert_eq!(running.post(&ratings).unwrap().status, 200);
    let file = folder.root.path().join("backup.db");
    let (data, file) = (folder.data(), text(&file));
    let backup = ["backup", "--data", text(&data), file];
    let output = run(&backup);
    assert!(output.status.success(), "{output:?}");
    assert!(!run(&backup).status.success(), "it does not write over a backup");
    let before = running.get("/v1/export", &token).body;
    running.stop();
    fs::remove_dir_all(&data).unwrap();
    let output = run(&["restore", "--data", text(&data), file]);
    assert!(output.status.success(), "{output:?}");
    let running = folder.start();
    assert_eq!(running.get("/v1/export", &token).body, before);
    assert_eq!(before.lines().count(), 20);
    running.stop();
}

#[test]
fn everything_moves_from_sqlite_to_postgresql_and_back() {
    let folder = Folder::new();
    let token = folder.token();
    let running = folder.start();
    let ratings: Vec<Value> = (0..30).map(|_| rating(&folder.policy)).collect();
    assert_eq!(running.post(&ratings).unwrap().status, 200);
    let before = running.get("/v1/export", &token).body;
    running.stop();
    let Some(server) = block_on(postgres::fresh()) else { return };
    let from = format!("sqlite:{}", text(&folder.data().join("kudos.db")));
    let back = format!("sqlite:{}", text(&folder.root.path().join("back.db")));
    for (from, to) in [(&from, &server), (&server, &back)] {
        let output = run(&["copy", "--from", from, "--to", to]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("30 ratings"));
        let output = run(&["copy", "--from", from, "--to", to]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("not empty"), "{output:?}");
    }
    fs::create_dir_all(folder.root.path().join("moved")).unwrap();
    fs::rename(folder.root.path().join("back.db"), folder.root.path().join("moved/kudos.db"))
        .unwrap();
    fs::remove_dir_all(folder.data()).unwrap();
    fs::rename(folder.root.path().join("moved"), folder.data()).unwrap();
    let running = folder.start();
    assert_eq!(running.get("/v1/export", &token).body, before);
    let more = rating(&folder.policy);
    assert_eq!(running.post(std::slice::from_ref(&more)).unwrap().status, 200);
    let after = running.get("/v1/export", &token).body;
    let last: Value = serde_json::from_str(after.lines().last().unwrap()).unwrap();
    assert_eq!(ids(&[last]), ids(&[more]), "places go on where they were");
    running.stop();
}
