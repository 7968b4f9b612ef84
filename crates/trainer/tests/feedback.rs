//! Ratings as a page exports them: honest ones are collected and counted, spoiled ones refused by name.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "feedback/pictures.rs"]
mod pictures;
#[path = "feedback/ratings.rs"]
mod ratings;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kudos_core::bundle::{pack, sha256};
use kudos_schema::{
    EndReason, FeedbackStats, ImportReport, PolicyManifest, Rating, RefusalCause, UncheckedCause,
    Verdict,
};
use ratings::{SHIPPED, asked, at_the_edge, base, honest, id, lines, one, pair};
use serde_json::Value;
use trainer::policy::EMBEDDED;

/// A folder in which the program is run.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.trainer(&[&["feedback"], arguments].concat())
    }

    fn trainer(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What the program prints, with the expected exit code.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn import(&self, more: &[&str]) -> ImportReport {
        let arguments = [&["import", "export.jsonl", "--json"], more].concat();
        serde_json::from_str(&self.printed(&arguments)).unwrap()
    }
}

#[test]
fn honest_ratings_are_verified_and_kept_once() {
    let folder = Folder::new();
    let honest = honest();
    folder.write("export.jsonl", &lines(&honest));
    let report = folder.import(&[]);
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    assert_eq!((report.lines, report.accepted, report.verified), (5, 5, 5));
    assert_eq!(folder.read("ratings.jsonl"), lines(&honest));

    let changed = Rating { remark: Some("later".into()), ..honest[1].clone() };
    let news = pair(6);
    folder.write("export.jsonl", &(lines(&honest) + "\n" + &lines(&[changed, news.clone()])));
    let report = folder.import(&[]);
    assert_eq!((report.lines, report.accepted), (7, 1));
    assert_eq!((report.duplicates, report.differing_duplicates), (6, 1));
    let kept = lines(&honest) + &lines(&[news]);
    assert_eq!(folder.read("ratings.jsonl"), kept);

    let report = folder.import(&[]);
    assert_eq!((report.accepted, report.duplicates), (0, 7));
    assert_eq!(folder.read("ratings.jsonl"), kept);
}

/// A pair, spoiled as JSON.
fn spoiled(spoil: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::to_value(pair(1)).unwrap();
    spoil(&mut value);
    serde_json::to_string(&value).unwrap()
}

fn add(value: &mut Value, nats: f64) {
    *value = Value::from(value.as_f64().unwrap() + nats);
}

/// Lines that must be refused, with the cause and words of the reason.
fn refused_lines() -> Vec<(String, RefusalCause, &'static str)> {
    use RefusalCause::{End, Json, Logprobs, Prompt, Record, Text, Tokens};
    let wrong_value = RefusalCause::Value;
    vec![
        ("{\"version\": 1,".into(), Json, "not JSON"),
        ("\u{feff}x".into(), Json, "not JSON"),
        ("{\"prompt\": \"a\", \"chosen\": \"b\"}".into(), Record, "not a rating"),
        (spoiled(|v| v["extra"] = 1.into()), Record, "unknown field `extra`"),
        (spoiled(|v| v["samples"][0]["extra"] = 1.into()), Record, "unknown field `extra`"),
        (spoiled(|v| drop(v.as_object_mut().unwrap().remove("rater"))), Record, "`rater`"),
        (spoiled(|v| (v["version"], v["extra"]) = (2.into(), 1.into())), wrong_value, "version 2"),
        (spoiled(|v| v["id"] = "me".into()), wrong_value, "id is not a UUID"),
        (spoiled(|v| v["rater"] = "Ann".into()), wrong_value, "rater is not a UUID"),
        (
            spoiled(|v| v["samples"][1]["token_ids"][0] = 9_999_999.into()),
            Tokens,
            "sample 1: token",
        ),
        (spoiled(|v| v["prompt"]["token_ids"] = vec![5; 4000].into()), Tokens, "the context holds"),
        (spoiled(|v| v["samples"][1]["text"] = "forged".into()), Text, "sample 1: its text"),
        (spoiled(|v| v["prompt"]["messages"][1]["content"] = "?".into()), Prompt, "the messages"),
        (spoiled(|v| v["prompt"]["text"] = "forged".into()), Prompt, "prompt.text"),
        (spoiled(|v| v["samples"][0]["end_reason"] = other_end().into()), End, "sample 0"),
        (
            spoiled(|v| add(&mut v["samples"][1]["logprobs_full"][2], -0.002)),
            Logprobs,
            "sample 1, token 2: logprobs_full",
        ),
        (
            spoiled(|v| add(&mut v["samples"][0]["logprobs_drawn"][1], -0.002)),
            Logprobs,
            "sample 0, token 1: logprobs_drawn",
        ),
        (spoiled(|v| v["samples"][0]["sampling"]["temperature"] = 0.5.into()), Logprobs, "full"),
        (spoiled(|v| v["samples"][0]["sampling"]["top_p"] = 0.5.into()), Logprobs, "drawn"),
        (lines(&[said_to_be_greedy()]), Logprobs, "logprobs_drawn is 0"),
    ]
}

/// The end reason that the first sample of a pair does not have.
fn other_end() -> &'static str {
    match pair(1).samples[0].end_reason {
        EndReason::Stop => "length",
        EndReason::Length | EndReason::Interrupted => "stop",
    }
}

/// A drawn completion whose sampling says that it is the most likely one.
fn said_to_be_greedy() -> Rating {
    let mut rating = one(1, asked("ship"), &base(), Verdict::Stars(5));
    let sample = &mut rating.samples[0];
    sample.sampling.temperature = 0.0;
    sample.logprobs_drawn.fill(0.0);
    rating
}

#[test]
fn what_is_spoiled_is_refused_with_its_reason() {
    let folder = Folder::new();
    let cases = refused_lines();
    let spoiled: Vec<&str> = cases.iter().map(|(line, ..)| line.trim_end()).collect();
    folder.write("export.jsonl", &(spoiled.join("\n") + "\n" + &lines(&[pair(1)])));
    let report = folder.import(&[]);
    assert_eq!((report.accepted, report.verified), (1, 1), "no refused line claims its id");
    assert_eq!(report.refusals.len(), cases.len(), "{:#?}", report.refusals);
    for ((index, refusal), (_, cause, words)) in report.refusals.iter().enumerate().zip(&cases) {
        assert_eq!((refusal.file.as_str(), refusal.line), ("export.jsonl", index + 1));
        assert_eq!(refusal.cause, *cause, "{refusal:?}");
        assert!(refusal.reason.contains(words), "{words}: {refusal:?}");
    }
    assert_eq!(report.refused.values().sum::<usize>(), cases.len());
    assert_eq!(folder.read("ratings.jsonl"), lines(&[pair(1)]));

    let shown = folder.printed(&["import", "export.jsonl", "--output", "other.jsonl"]);
    assert!(shown.contains("1 accepted into other.jsonl, 0 duplicates, 20 refused"), "{shown}");
    assert!(shown.contains("export.jsonl:4: record: not a rating: unknown field"), "{shown}");
    assert_eq!(shown.matches("export.jsonl:").count(), 10, "{shown}");
    assert!(shown.contains("and 10 more"), "{shown}");
}

#[test]
fn what_cannot_be_checked_is_kept_and_counted() {
    let folder = Folder::new();
    let named = |name: &str, change: &dyn Fn(&mut Rating)| {
        let number = name.len();
        let mut rating = pair(number);
        change(&mut rating);
        rating
    };
    let other = pack(PolicyManifest::default(), &SHIPPED.bundle.files).unwrap();
    folder.write("damaged.kudos", "no bundle");
    fs::write(folder.path("other.kudos"), &other).unwrap();
    let other = sha256(&other);
    let unknown = named("unknown", &|rating| {
        rating.policy.sha256 = other.clone();
        rating.samples[0].text = "not of these tokens".into();
    });
    let known = named("at hand", &|rating| rating.policy.sha256 = other.clone());
    let known = Rating { id: id(99), ..known };
    let adapted = named("adapter on it", &|rating| rating.policy.adapter = Some("mine".into()));
    let masked = named("masked", &|rating| {
        rating.prompt.messages[1].content = "write to [e-mail]".into();
    });
    let gpu = named("a gpu's rounding", &|rating| {
        rating.backend = "WebGPU, some adapter".into();
        rating.samples[0].logprobs_full[2] -= 0.01;
    });
    folder.write("export.jsonl", &lines(&[unknown, known, adapted, masked, gpu]));

    let report = folder.import(&[]);
    assert_eq!((report.accepted, report.verified), (5, 1), "{report:?}");
    let counted = |cause| report.unchecked.get(&cause).copied();
    assert_eq!(counted(UncheckedCause::Policy), Some(2));
    assert_eq!(counted(UncheckedCause::Adapter), Some(1));
    assert_eq!(counted(UncheckedCause::Prompt), Some(1));

    let report = folder.import(&["--bundle", "other.kudos", "--output", "checked.jsonl"]);
    assert_eq!((report.accepted, report.verified), (4, 2), "{report:?}");
    assert_eq!(report.refusals[0].cause, RefusalCause::Text);

    let output = folder.run(&["import", "export.jsonl", "--bundle", "damaged.kudos"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no policy bundle"));
}

#[test]
fn rounding_at_the_edge_of_top_p_is_no_forgery() {
    let folder = Folder::new();
    folder.write(
        "export.jsonl",
        &lines(&[
            // Ours keeps one, theirs two, and the other way round; of the second, they drew it itself.
            at_the_edge(1, (1, 0), (2, -1e-6)),
            at_the_edge(2, (1, 0), (1, 1e-6)),
            at_the_edge(3, (1, 1), (2, -1e-6)),
            // Farther away it is.
            at_the_edge(4, (1, 0), (2, -1e-2)),
            at_the_edge(5, (1, 0), (1, 1e-2)),
            at_the_edge(6, (1, 1), (2, -1e-2)),
        ]),
    );
    let report = folder.import(&[]);
    let refused: Vec<usize> = report.refusals.iter().map(|refusal| refusal.line).collect();
    assert_eq!(refused, [4, 5, 6], "{:#?}", report.refusals);
}

#[test]
fn statistics_are_printed_for_people_and_programs() {
    let folder = Folder::new();
    let second = "01900000-0000-4000-8000-000000000002";
    let agreeing = Rating { id: id(7), rater: second.into(), ..pair(1) };
    let mut swapped = Rating { id: id(8), rater: second.into(), ..pair(1) };
    swapped.samples.reverse();
    let honest = honest();
    folder.write("a.jsonl", &lines(&honest));
    folder.write("b.jsonl", &(lines(&[agreeing, honest[0].clone()]) + "not JSON\n"));
    let shown = folder.printed(&["stats", "a.jsonl", "b.jsonl"]);
    for words in [
        "verdicts         edit 1; pair 2; report 1; stars 1; thumbs 1",
        "left over right  1.000 [0.342, 1.000] (ties and both bad left out)",
        "thumbs up        1.000 [0.207, 1.000] of 1",
        "stars            4.000 [4.000, 4.000] (4* 1)",
        "median time      3.5 s",
        "reported         1 samples",
        "1 no ratings, 1 duplicates",
        "agreement, pair  1.000 of rater pairs say the same, Krippendorff's alpha none (1 items",
    ] {
        assert!(shown.contains(words), "{words} in\n{shown}");
    }
    let json = folder.printed(&["stats", "a.jsonl", "b.jsonl", "--json"]);
    let stats: FeedbackStats = serde_json::from_str(&json).unwrap();
    assert_eq!((stats.ratings, stats.raters), (6, 2));
    assert_eq!((stats.refused, stats.duplicates), (1, 1));
    assert_eq!(stats.policies[0].sha256, sha256(EMBEDDED));

    folder.write("c.jsonl", &lines(&[pair(1), swapped]));
    let json = folder.printed(&["stats", "c.jsonl", "--json"]);
    let stats: FeedbackStats = serde_json::from_str(&json).unwrap();
    assert_eq!(stats.agreement["pair"].agreement, 0.0, "each chose the other text");
}

#[test]
fn wrong_use_ends_with_exit_code_2_and_changes_nothing() {
    let folder = Folder::new();
    folder.write("rows.jsonl", "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    folder.write("good.jsonl", &lines(&[pair(1)]));
    folder.write("empty.jsonl", "\n");
    let check = |arguments: &[&str], words: &str| {
        let output = folder.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(words), "{words} in {error}");
        assert!(!folder.path("ratings.jsonl").exists());
    };
    check(&["import", "rows.jsonl"], "no line could be accepted");
    check(&["import", "good.jsonl", "missing.jsonl"], "missing.jsonl");
    check(&["import", "good.jsonl", "--output", "rows.jsonl"], "line 1: not a rating");
    check(&["import", "good.jsonl", "--output", "no/where.jsonl"], "no is no folder");
    check(&["import", "good.jsonl", "--bundle", "."], "is a folder");
    check(&["import"], "FILE");
    check(&["stats", "rows.jsonl"], "there is no rating to count");
    check(&["stats", "missing.jsonl"], "missing.jsonl");
    assert_eq!(folder.read("rows.jsonl").lines().count(), 1);
    let shown = folder.printed(&["import", "empty.jsonl"]);
    assert!(shown.starts_with("0 lines: 0 accepted"), "{shown}");
}
