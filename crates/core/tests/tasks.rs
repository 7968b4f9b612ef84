//! The shipped data as tasks: counts, lengths, and that nothing held out is trained on.
//!
//! Near-duplicates are looked for here by comparing every pair, with code of its own.

use std::collections::{BTreeSet, HashMap, HashSet};

use kudos_core::task::{Item, Prompt, TASKS, TaskData, documents, load, task};
use kudos_core::text::chat::ChatTemplate;
use kudos_core::text::tokenizer::Tokenizer;

const STORIES: &str = include_str!("../../../data/stories_austen_pride_and_prejudice.txt");

fn data() -> Vec<TaskData> {
    let texts = [
        include_str!("../../../data/kg.jsonl"),
        include_str!("../../../data/summaries_rustdoc.jsonl"),
        include_str!("../../../data/dialogue.jsonl"),
        include_str!("../../../data/sentences.txt"),
    ];
    TASKS
        .into_iter()
        .zip(texts)
        .map(|(task, text)| load(task, text).expect("the shipped data can be read"))
        .collect()
}

/// What must not be seen twice: what is asked, and for a free text the whole of it.
fn asked(name: &str, item: &Item) -> String {
    let prompt = item.prompt.text();
    if name == "sentences" { format!("{prompt}{}", item.references[0]) } else { prompt }
}

/// Numbers that texts give to their word 3-grams.
type Known = HashMap<String, u32>;

/// Numbers of the distinct word 3-grams of a text, in order.
fn grams(text: &str, known: &mut Known) -> Vec<u32> {
    let lower = text.to_lowercase();
    let letters = |letter: char| if letter.is_alphanumeric() { letter } else { ' ' };
    let spaced: String = lower.chars().map(letters).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let grams: BTreeSet<u32> = words
        .windows(words.len().clamp(1, 3))
        .map(|window| {
            let next = u32::try_from(known.len()).expect("fewer than 2^32 grams");
            *known.entry(window.join(" ")).or_insert(next)
        })
        .collect();
    grams.into_iter().collect()
}

fn jaccard(left: &[u32], right: &[u32]) -> f64 {
    let (mut i, mut j, mut n_shared) = (0, 0, 0);
    while i < left.len() && j < right.len() {
        n_shared += usize::from(left[i] == right[j]);
        let (first, second) = (left[i], right[j]);
        i += usize::from(first <= second);
        j += usize::from(second <= first);
    }
    n_shared as f64 / (left.len() + right.len() - n_shared).max(1) as f64
}

#[test]
fn counts_of_the_shipped_tasks_are_those_of_the_documentation() {
    let counts = data().iter().map(count).collect::<Vec<_>>();
    assert_eq!(
        counts,
        [
            ("triples".to_owned(), 4467, 282, 403, 5),
            ("summary".to_owned(), 1348, 65, 83, 0),
            ("dialogue".to_owned(), 4100, 265, 239, 443),
            ("sentences".to_owned(), 21754, 1185, 1187, 0),
        ]
    );
    assert!(counts[0].3 >= 300);
}

fn count(data: &TaskData) -> (String, usize, usize, usize, usize) {
    let lengths = [&data.train, &data.validation, &data.test].map(Vec::len);
    (data.name.clone(), lengths[0], lengths[1], lengths[2], data.n_dropped)
}

#[test]
fn no_item_and_no_near_duplicate_crosses_the_splits() {
    for data in data() {
        let mut known = Known::new();
        let mut of = |items: &[Item]| -> Vec<Vec<u32>> {
            items.iter().map(|item| grams(&asked(&data.name, item), &mut known)).collect()
        };
        let (train, validation, test) = (of(&data.train), of(&data.validation), of(&data.test));
        let mut n_near = 0;
        for (held, others) in [(&test, &train), (&validation, &train), (&validation, &test)] {
            for (left, right) in
                held.iter().flat_map(|left| others.iter().map(move |right| (left, right)))
            {
                let index = jaccard(left, right);
                assert!(index < 0.6, "{}: {index}: {left:?} {right:?}", data.name);
                n_near += usize::from(index > 0.4);
            }
        }
        // The comparison is not blind: pairs a little below the bound are there.
        assert!(n_near > 0, "{}", data.name);
        let ids = |items: &[Item]| items.iter().map(|item| item.id.clone()).collect::<HashSet<_>>();
        let (train, validation, test) = (ids(&data.train), ids(&data.validation), ids(&data.test));
        assert!(
            train.is_disjoint(&test)
                && train.is_disjoint(&validation)
                && test.is_disjoint(&validation)
        );
        let n_items = data.train.len() + data.validation.len() + data.test.len();
        assert_eq!(train.len() + validation.len() + test.len(), n_items, "ids are unique");
    }
}

#[test]
fn a_subject_is_in_one_split_only() {
    let triples = &data()[0];
    let subjects = |items: &[Item]| {
        items.iter().map(|item| item.extra["subject"].to_string()).collect::<HashSet<_>>()
    };
    let splits = [&triples.train, &triples.validation, &triples.test].map(|items| subjects(items));
    assert!(splits[0].is_disjoint(&splits[1]) && splits[0].is_disjoint(&splits[2]));
    assert!(splits[1].is_disjoint(&splits[2]));
}

/// Two lines as they follow each other in a document; one line of a task without replies.
fn fact(name: &str, item: &Item, reference: &str) -> String {
    match name {
        // A turn such as "hi" opens many conversations: what may not be seen is the reply to it.
        "dialogue" => {
            format!("{}\n{reference}", asked(name, item).lines().last().unwrap_or_default())
        }
        _ => asked(name, item),
    }
    .to_lowercase()
}

#[test]
fn documents_repeat_nothing_that_is_held_out() {
    let data = data();
    let documents: Vec<String> =
        documents(&data, STORIES).iter().map(|text| text.to_lowercase()).collect();
    let mut seen: HashSet<String> = HashSet::new();
    for text in &documents {
        let lines: Vec<&str> = text.lines().collect();
        seen.extend(lines.iter().map(|line| (*line).to_owned()));
        seen.extend(lines.windows(2).map(|pair| pair.join("\n")));
    }
    for task in &data {
        let seen_in = |items: &[Item]| {
            let facts = items.iter().flat_map(|item| {
                item.references.iter().map(|reference| fact(&task.name, item, reference))
            });
            facts.filter(|fact| seen.contains(fact)).collect::<Vec<_>>()
        };
        // The search is not blind: it finds what was trained on.
        assert!(seen_in(&task.train).len() >= task.train.len() / 2, "{}", task.name);
        let leaked = [seen_in(&task.validation), seen_in(&task.test)];
        assert_eq!(leaked, [Vec::<String>::new(), Vec::new()], "{}", task.name);
    }
}

#[test]
fn triples_fit_256_tokens_and_the_others_512_with_a_vocabulary_of_2048() {
    let data = data();
    let documents = documents(&data, STORIES);
    let tokenizer = Tokenizer::train(documents.iter().map(String::as_str), 2048).unwrap();
    let template = ChatTemplate::default();
    for data in &data {
        let longest = data.train.iter().chain(&data.validation).chain(&data.test).map(|item| {
            let prompt = match &item.prompt {
                Prompt::Text(text) => tokenizer.encode(text),
                Prompt::Messages(messages) => template.prompt(&tokenizer, messages).unwrap(),
            };
            let reference = item.references.iter().map(|text| tokenizer.encode(text).len()).max();
            prompt.len() + reference.unwrap_or(0) + 1
        });
        let longest = longest.max().unwrap();
        let bound = if data.name == "triples" { 256 } else { 512 };
        assert!(longest <= bound, "{}: {longest}", data.name);
    }
}

#[test]
fn dealing_twice_gives_the_same_splits() {
    let text = include_str!("../../../data/kg.jsonl");
    let triples = task("triples").unwrap();
    assert_eq!(load(triples, text).unwrap(), load(triples, text).unwrap());
}
