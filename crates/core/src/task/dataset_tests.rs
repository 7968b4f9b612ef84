//! Tests of `dataset`: the shapes that are read, and the line that each wrong row gives.

use super::*;

fn one(row: &str) -> Row {
    parse(row, "mine.jsonl").unwrap().remove(0)
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn each_shape_of_trl_is_read_and_other_columns_are_kept() {
    let prompt = Prompt::Text("p".to_owned());
    let asked = Prompt::Messages(vec![message("user", "p")]);
    let c = || "c".to_owned();
    let cases = [
        (r#"{"text":"t","x":1}"#, Shape::Text("t".to_owned())),
        (
            r#"{"messages":[{"role":"user","content":"p"}],"x":1}"#,
            Shape::Messages(vec![message("user", "p")]),
        ),
        (r#"{"prompt":"p","x":1}"#, Shape::Prompt(prompt.clone())),
        (
            r#"{"prompt":[{"role":"user","content":"p"}],"text":"t","x":1}"#,
            Shape::Prompt(asked.clone()),
        ),
        (
            r#"{"prompt":"p","completion":"c","x":1}"#,
            Shape::Completion { prompt: prompt.clone(), completion: c() },
        ),
        (
            r#"{"prompt":"p","completion":[{"role":"assistant","content":"c"}],"x":1}"#,
            Shape::Completion { prompt: prompt.clone(), completion: c() },
        ),
        (
            r#"{"prompt":"p","chosen":"c","rejected":"r","x":1}"#,
            Shape::Preference { prompt: prompt.clone(), chosen: c(), rejected: "r".to_owned() },
        ),
        (
            r#"{"prompt":"p","completion":"c","label":false,"x":1}"#,
            Shape::Labeled { prompt, completion: c(), label: false },
        ),
    ];
    for (text, shape) in cases {
        let row = one(text);
        assert_eq!((row.line, &row.shape, &row.extra["x"]), (1, &shape, &Value::from(1)), "{text}");
    }
}

#[test]
fn a_wrong_row_is_an_error_with_file_and_line_and_remedy() {
    let cases = [
        ("{\"prompt\":\"p\"", "each line must be one JSON object"),
        ("[1]", "each line must be one JSON object"),
        ("p", "expected value at column 1"),
        ("{}", "field \"prompt\" is missing"),
        (r#"{"answer":"a"}"#, "field \"prompt\" is missing: a row has text, messages"),
        (r#"{"completion":"c"}"#, "field \"prompt\" is missing"),
        (r#"{"prompt":"p","chosen":"c"}"#, "field \"rejected\" is missing"),
        (r#"{"prompt":"p","rejected":"c"}"#, "field \"chosen\" is missing"),
        (r#"{"prompt":7}"#, "\"prompt\" must be a string or a list of messages"),
        (r#"{"prompt":null}"#, "\"prompt\" must be a string or a list of messages"),
        (r#"{"prompt":[]}"#, "\"prompt\" must be a list, not empty"),
        (r#"{"prompt":[{"role":"user"}]}"#, "\"prompt\" must be a list, not empty, of messages"),
        (r#"{"prompt":"p","completion":3}"#, "\"completion\" must be a string"),
        (
            r#"{"prompt":"p","completion":[{"role":"user","content":"c"}]}"#,
            "\"completion\" must be a string or a list of one assistant message",
        ),
        (r#"{"prompt":"p","completion":"c","label":1}"#, "\"label\" must be true or false"),
        (r#"{"text":"t"}"#, "the row is {text} but the first is {prompt}"),
    ];
    for (wrong, words) in cases {
        // The blank line counts.
        let error = parse(&format!("{{\"prompt\":\"p\"}}\n\n{wrong}\n"), "mine.jsonl").unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("mine.jsonl:3: ") && error.contains(words), "{wrong}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_data_set_without_rows_is_refused() {
    for text in ["", "\n \n", "\u{FEFF}"] {
        let error = parse(text, "mine.jsonl").unwrap_err().to_string();
        assert_eq!(error, "mine.jsonl has no rows: write at least one JSON object a line");
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_accepted() {
    let rows = parse("\u{FEFF}{\"text\":\"a\"}\r\n{\"text\":\"b\"}\r\n", "mine.jsonl").unwrap();
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn good_answers_become_references_and_the_rest_is_extra() {
    let item = |text: &str| source(one(text), "f").items.remove(0);
    let asked = |item: &Item| (item.prompt.text(), item.references.clone());
    let conversation = item(
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},
            {"role":"assistant","content":"a"}]}"#
            .replace('\n', "")
            .as_str(),
    );
    assert_eq!(asked(&conversation), ("q".to_owned(), vec!["a".to_owned()]));
    let pair = item(r#"{"prompt":"q","chosen":"a","rejected":"b"}"#);
    assert_eq!(
        (asked(&pair).1, &pair.extra["rejected"]),
        (vec!["a".to_owned()], &Value::from("b"))
    );
    let bad = item(r#"{"prompt":"q","completion":"b","label":false}"#);
    assert_eq!((asked(&bad).1, &bad.extra["completion"]), (Vec::new(), &Value::from("b")));
    let text = item(r#"{"text":"free"}"#);
    assert_eq!(asked(&text), (String::new(), vec!["free".to_owned()]));
}

#[test]
fn a_users_file_is_dealt_like_ours_and_equal_prompts_stay_together() {
    let rows: Vec<String> = (0..300)
        .map(|i| format!(r#"{{"prompt":"question{}","completion":"answer {i}"}}"#, i / 2))
        .collect();
    let data = load(&rows.join("\n"), "mine.jsonl", Shares::default()).unwrap();
    assert_eq!(data.train.len() + data.validation.len() + data.test.len(), 300);
    for split in [&data.train, &data.validation, &data.test] {
        assert!(!split.is_empty());
        assert!(split.chunks(2).all(|pair| pair[0].prompt == pair[1].prompt));
    }
    assert_eq!(data.name, "mine.jsonl");
}

#[test]
fn what_is_asked_of_one_picture_stays_in_one_split_whatever_is_asked_of_others() {
    let row = |image: usize, question: &str| {
        format!(
            r#"{{"image":"pictures/of/a/long/way/{image}.png","prompt":"{question}","completion":"red"}}"#
        )
    };
    let questions = ["what color is the shape?", "is there a circle?"];
    let rows: Vec<String> =
        (0..300).flat_map(|image| questions.map(|question| row(image, question))).collect();
    let data = load(&rows.join("\n"), "vqa.jsonl", Shares::default()).unwrap();
    let images = |items: &[Item]| -> std::collections::BTreeSet<String> {
        items.iter().map(|item| item.extra[IMAGE].to_string()).collect()
    };
    let (train, test) = (images(&data.train), images(&data.test));
    assert!(!test.is_empty() && train.is_disjoint(&test));
    assert_eq!(data.test.len(), 2 * test.len());
}
