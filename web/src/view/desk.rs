//! What the visitor asks: policy, task, prompt, conversation.

use super::control::{Usable, button, labelled, option, pressed, usable};
use super::{asked, picture};
use crate::event::{Event, Mode};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::state::bundle::Source;
use crate::state::desk::{Form, MAX_PROMPT_BYTES, form, prompts};
use crate::words::{DeskWords, fill};

/// How much of a prompt the list shows.
const SHOWN_CHARACTERS: usize = 60;

/// The desk.
pub(super) fn section(state: &State) -> Node {
    let words = &state.words().desk;
    let choices = Node::new("div").with("class", "choices").children([
        labelled("policy", words.policy, policy(state)),
        labelled("task", words.task, task(state)),
        mode(state),
    ]);
    Node::new("section")
        .with("id", "desk")
        .with("tabindex", "-1")
        .with("aria-labelledby", "desk-heading")
        .child(Node::new("h2").with("id", "desk-heading").text(words.heading))
        .child(choices)
        .children(conversation(state))
        .children(picture::on_desk(state))
        .child(prompt(state))
        .child(buttons(state))
        .children(asked::on_desk(state))
}

fn policy(state: &State) -> Node {
    let words = &state.words().desk;
    let mut options = Vec::new();
    if let Some(catalog) = &state.catalog {
        for (place, entry) in catalog.policies.iter().enumerate() {
            let base = entry.manifest.base().and_then(|base| catalog.entry(base));
            let below = base.map_or(String::new(), |base| fill("{} + ", &[&base.manifest.name]));
            options.push(option(place.to_string(), below + &entry.manifest.name));
        }
    }
    let value = match &state.bundle.source {
        Source::Catalog(place) => place.to_string(),
        Source::None => {
            options.insert(0, option("", words.no_policy));
            String::new()
        }
        Source::Own { name } => {
            options.insert(0, option("own", fill(words.own_name, &[name])));
            "own".to_owned()
        }
    };
    Node::new("select")
        .with("id", "policy")
        .with("value", value)
        .on("change", Handler::Value(policy_chosen))
        .children(options)
}

fn policy_chosen(value: String) -> Event {
    // The entries that are no place of the catalog name what is chosen already: no place is chosen.
    Event::PolicyChosen(value.parse().unwrap_or(usize::MAX))
}

fn task(state: &State) -> Node {
    let words = &state.words().desk;
    let tasks = state.bundle.manifest.iter().flat_map(|manifest| &manifest.tasks);
    Node::new("select")
        .with("id", "task")
        .with("value", state.desk.task.clone())
        .on("change", Handler::Value(Event::TaskChosen))
        .children(tasks.map(|task| option(task, task_name(words, task))))
}

fn task_name(words: &DeskWords, task: &str) -> String {
    match task {
        "dialogue" => words.task_dialogue.to_owned(),
        "sentences" => words.task_sentences.to_owned(),
        "triples" => words.task_triples.to_owned(),
        "summary" => words.task_summary.to_owned(),
        "captions" => words.task_captions.to_owned(),
        "keywords" => words.task_keywords.to_owned(),
        other => fill(words.task_other, &[other]),
    }
}

fn mode(state: &State) -> Node {
    let words = &state.words().desk;
    let one = |mode: Mode, id: &'static str, text: &str| {
        let chosen = (state.memory.mode == mode).then_some(());
        pressed(button(id, text, Event::ModeChosen(mode)), chosen)
    };
    Node::new("div")
        .with("class", "field")
        .with("role", "group")
        .with("aria-labelledby", "mode-label")
        .child(Node::new("span").with("id", "mode-label").with("class", "label").text(words.mode))
        .child(Node::new("div").with("class", "joined").children([
            one(Mode::Pair, "mode-pair", words.pair),
            one(Mode::Single, "mode-single", words.single),
        ]))
}

/// The turns so far, and what was said last; the replies to it are the completions.
fn conversation(state: &State) -> Option<Node> {
    if form(&state.desk.task) != Form::Conversation {
        return None;
    }
    let words = &state.words().desk;
    let own = state.round.as_ref().filter(|round| round.query.is_none());
    let asked = own.and_then(|round| round.messages.last());
    let mut turns = Vec::new();
    for message in state.desk.conversation.iter().chain(asked) {
        let (class, who) = match message.role.as_str() {
            "user" => ("you", words.you),
            _ => ("policy", words.policy_said),
        };
        let who = Node::new("span").with("class", "who").text(who);
        let said = Node::new("p").text(message.content.trim());
        turns.push(Node::new("li").with("class", class).child(who).child(said));
    }
    let list = Node::new("ol")
        .with("id", "conversation")
        .with("aria-label", words.conversation)
        .children(turns);
    Some(list)
}

fn prompt(state: &State) -> Node {
    let words = &state.words().desk;
    let label = match state.desk.task.as_str() {
        "dialogue" => words.prompt_dialogue,
        "sentences" => words.prompt_sentences,
        "triples" => words.prompt_triples,
        "summary" => words.prompt_summary,
        "captions" | "keywords" => words.prompt_captions,
        _ => words.prompt_other,
    };
    let field = Node::new("textarea")
        .with("id", "prompt")
        .with("rows", "3")
        .with("maxlength", MAX_PROMPT_BYTES.to_string())
        .with("value", state.desk.prompt.clone())
        .on("input", Handler::Value(Event::PromptTyped));
    let prompts = state.bundle.manifest.as_ref();
    let prompts = prompts.map_or(&[][..], |manifest| prompts_of(manifest, state));
    let list = Node::new("select")
        .with("id", "prompt-list")
        .with("value", "")
        .on("change", Handler::Value(Event::PromptPicked))
        .child(option("", words.pick_none))
        .children(prompts.iter().map(|prompt| option(prompt, shown(prompt))));
    Node::new("div")
        .with("class", "prompt")
        .child(labelled("prompt", label, field))
        .child(labelled("prompt-list", words.pick, list))
}

fn prompts_of<'a>(manifest: &'a kudos_schema::PolicyManifest, state: &State) -> &'a [String] {
    prompts(manifest, &state.desk.task)
}

/// The beginning of a prompt, in one line.
fn shown(prompt: &str) -> String {
    let line = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(SHOWN_CHARACTERS).collect();
    if cut.len() < line.len() { cut + "…" } else { cut }
}

fn buttons(state: &State) -> Node {
    let words = &state.words().desk;
    let busy = state.is_busy();
    let write = button("write", words.write, Event::WritePressed).with("class", "main");
    let has_prompts = state
        .bundle
        .manifest
        .as_ref()
        .is_some_and(|manifest| prompts_of(manifest, state).len() > 1);
    let another = button("another-prompt", words.another, Event::AnotherPrompt);
    let mut row = Node::new("div").with("class", "row").children([
        usable(write, Usable::when((state.is_able() && !busy).then_some(()))),
        usable(button("stop", words.stop, Event::StopPressed), Usable::when(busy.then_some(()))),
        usable(another, Usable::when(has_prompts.then_some(()))),
    ]);
    if form(&state.desk.task) == Form::Conversation {
        row = row.child(button("new-conversation", words.new_conversation, Event::NewConversation));
    }
    if !state.is_able() {
        row = row.child(Node::new("span").with("class", "hint").text(words.waiting));
    }
    row
}
