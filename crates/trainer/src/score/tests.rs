//! What the command adds to the metrics: files, options, names of parts, errors.

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::usage::exit_code;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    score: ScoreArgs,
}

/// Files h, r0, r1, ... of these contents, scored by `options`, whose first word is the metric.
fn run(options: &str, hypotheses: &[u8], references: &[&[u8]]) -> Result<Vec<ScoreResult>> {
    let folder = TempDir::new().unwrap();
    let file = |name: String, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut words = vec!["score".to_owned()];
    words.extend(options.split_whitespace().map(str::to_owned));
    words.extend([
        "--hypotheses".to_owned(),
        file("h".to_owned(), hypotheses),
        "--references".to_owned(),
    ]);
    words.extend(references.iter().enumerate().map(|(n, content)| file(format!("r{n}"), content)));
    score(&Command::try_parse_from(words)?.score.metric)
}

fn one(options: &str, hypotheses: &str, references: &[&str]) -> ScoreResult {
    let references: Vec<&[u8]> = references.iter().map(|text| text.as_bytes()).collect();
    let mut results = run(options, hypotheses.as_bytes(), &references).unwrap();
    assert_eq!(results.len(), 1);
    results.remove(0)
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

#[test]
fn bleu_names_its_parts_as_sacrebleu_does() {
    // Precisions 3/4, 2/3, 1/2 and, for want of a match, half of 1/1; lengths 4 and 5.
    let result = one("bleu", "a b c x\n", &["a b c d e\n"]);
    let parts: Vec<(&str, f64)> =
        result.parts.iter().map(|(name, &part)| (&**name, part)).collect();
    let bp = (1.0 - 5.0 / 4.0_f64).exp();
    let expected = [
        ("bp", bp),
        ("precision_1", 75.0),
        ("precision_2", 200.0 / 3.0),
        ("precision_3", 50.0),
        ("precision_4", 50.0),
        ("ratio", 0.8),
        ("ref_len", 5.0),
        ("sys_len", 4.0),
    ];
    assert_eq!(parts.len(), expected.len());
    for ((name, part), (expected_name, expected)) in parts.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        close(part, expected);
    }
    assert_eq!(result.metric, "BLEU");
    close(result.score, 100.0 * bp * (0.75 * 2.0 / 3.0 * 0.5 * 0.5_f64).powf(0.25));
}

#[test]
fn a_ratio_to_nothing_is_zero_as_in_sacrebleu() {
    assert_eq!(one("bleu", "a\n", &["\n"]).parts["ratio"], 0.0);
}

#[test]
fn every_option_reaches_the_signature() {
    let check = |options: &str, expected: &str| {
        let signature = one(options, "a | b | c\n", &["a | b | c\n", "d\n"]).signature;
        assert!(signature.contains(expected), "{options}: {signature}");
        assert!(signature.contains("nrefs:2|"), "{options}: {signature}");
    };
    check("bleu", "case:mixed|eff:no|tok:13a|smooth:exp|version");
    check("bleu --lowercase --effective-order", "case:lc|eff:yes|");
    check("bleu --tokenize none", "tok:none|");
    check("bleu --tokenize intl", "tok:intl|");
    check("bleu --tokenize char --max-ngram-order 2", "tok:char|smooth:exp|order:2|");
    check("bleu --smooth-method none", "smooth:none|");
    check("bleu --smooth-method floor", "smooth:floor[0.10]|");
    check("bleu --smooth-method add-k --smooth-value 0.5", "smooth:add-k[0.50]|");
    check("chrf", "case:mixed|eff:yes|nc:6|nw:0|space:no|version");
    check("chrf --char-order 3 --word-order 2 --beta 1", "nc:3|nw:2|space:no|beta:1|");
    check("chrf --lowercase --whitespace --eps-smoothing", "case:lc|eff:no|nc:6|nw:0|space:yes|");
    check("rouge", "stem:none|");
    check("rouge --use-stemmer", "stem:porter|");
    check("triples", "multi:max-f|corpus:mean|case:mixed|");
    check("triples --case-folded", "case:folded|");
    assert_eq!(one("chrf --word-order 2", "a\n", &["a\n"]).metric, "chrF2++");
}

#[test]
fn rouge_scores_by_the_f_measure_of_l() {
    // Of a b c, the words are all in c a b d; a pair of two and of three; a b in a row.
    let result = one("rouge", "a b c\n", &["c a b d\n"]);
    let check = |name: &str, expected| close(result.parts[name], expected);
    check("rouge1_precision", 1.0);
    check("rouge1_recall", 3.0 / 4.0);
    check("rouge2_fmeasure", 2.0 / 5.0);
    check("rougeL_fmeasure", 4.0 / 7.0);
    assert_eq!(result.score, result.parts["rougeL_fmeasure"]);
    assert_eq!(result.parts.len(), 12);
}

#[test]
fn triples_of_an_item_share_a_line() {
    // 1 of 2 stated is right and 1 of 1 found; then nothing stated and nothing to state.
    let result = one("triples", "a | b | c ; d | e | f\n\n", &["a | b | c\n\n"]);
    close(result.score, (2.0 / 3.0 + 1.0) / 2.0);
    close(result.parts["micro_precision"], 0.5);
    close(result.parts["recall"], 1.0);
}

#[test]
fn of_references_with_equal_f1_the_first_counts() {
    // F1 is 2/3 against both: precision 1/2 and recall 1, or the reverse.
    let (small, large) = ("a|b|c\n", "a|b|c ; d|e|f ; 1|2|3 ; 4|5|6\n");
    let recall =
        |references: [&str; 2]| one("triples", "a|b|c ; d|e|f\n", &references).parts["recall"];
    assert_eq!(recall([small, large]), 1.0);
    assert_eq!(recall([large, small]), 0.5);
}

#[test]
fn each_line_is_scored_by_itself_with_effective_order() {
    let results = run("bleu --sentence-level", b"a b\nx\n", &[b"a b\ny\n"]).unwrap();
    let scores: Vec<f64> = results.iter().map(|result| result.score).collect();
    close(scores[0], 100.0);
    assert_eq!(scores[1..], [0.0]);
    assert!(results[0].signature.contains("nrefs:1|case:mixed|eff:yes|"));
    for metric in ["chrf", "rouge", "triples"] {
        let results =
            run(&format!("{metric} --sentence-level"), b"a|b|c\nx|x|x\n", &[b"a|b|c\ny|y|y\n"]);
        let scores: Vec<f64> = results.unwrap().iter().map(|result| result.score).collect();
        assert_eq!(scores.len(), 2, "{metric}");
        assert!(scores[0] >= 1.0 && scores[1] < scores[0], "{metric}: {scores:?}");
    }
}

#[test]
fn wrong_input_is_one_line_that_names_it() {
    let check = |options: &str, hypotheses: &[u8], references: &[u8], expected: &[&str]| {
        let error = run(options, hypotheses, &[references]).unwrap_err();
        let line = error.to_string();
        assert_eq!(exit_code(&error), 2, "{line}");
        assert!(!line.contains('\n'), "{line}");
        assert!(expected.iter().all(|part| line.contains(part)), "{line}");
    };
    check("bleu", b"a\nb\n", b"a\nb\nc\n", &["/r0 has 3 lines", "/h has 2"]);
    check("chrf", b"a\n", b"", &["/r0 is empty"]);
    check("rouge", b"", b"a\n", &["/h is empty"]);
    check("triples", b"a\n", b"ok\n\xc3\xa9\nx\xe9\n", &["/r0, line 3", "UTF-8"]);
    check("bleu --max-ngram-order 0", b"a\n", b"a\n", &["order 0"]);
    check("bleu --smooth-value 1", b"a\n", b"a\n", &["--smooth-value", "add-k"]);
    check("bleu --smooth-method floor --smooth-value=-1", b"a\n", b"a\n", &["-1"]);
    check("chrf --beta 0", b"a\n", b"a\n", &["beta 0"]);
}

#[test]
fn a_missing_file_is_named() {
    let words = ["score", "bleu", "--hypotheses", "not_there", "--references", "not_there"];
    let error = score(&Command::try_parse_from(words).unwrap().score.metric).unwrap_err();
    assert!(error.to_string().starts_with("not_there: "));
    assert_eq!(exit_code(&error), 2);
}

#[test]
fn an_absurd_order_is_refused_rather_than_allocated() {
    for option in ["bleu --max-ngram-order", "chrf --char-order", "chrf --word-order"] {
        let error = run(&format!("{option} 1000000000000000000"), b"a\n", &[b"a\n"]).unwrap_err();
        assert!(error.is::<clap::Error>(), "{error}");
    }
}

#[test]
fn likeness_of_a_text_to_itself_is_one_and_lines_are_scored_alone() {
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/encoder");
    let options = format!("likeness --sentence-level --encoder {encoder}");
    let both = b"the cat sat\nstop me now\n";
    let results = run(&options, both, &[b"the cat sat\nthe mat\n"]).unwrap();
    assert!(
        (results[0].score - 1.0).abs() < 1e-6 && (results[0].parts["cosine"] - 1.0).abs() < 1e-6
    );
    assert!(results[1].score < 0.99, "{results:?}");
    let one = run(&options.replace("--sentence-level", ""), both, &[b"the cat sat\nthe mat\n"]);
    let mean = (results[0].score + results[1].score) / 2.0;
    assert!((one.unwrap()[0].score - mean).abs() < 1e-9);
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/base.kudos");
    let error = run(&options.replace(encoder, policy), both, &[both]).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert!(error.to_string().contains("BERT"), "{error}");
}
