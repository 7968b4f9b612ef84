//! The texts at hand, token by token.

use kudos_schema::{EndReason, PairChoice, Verdict, Written};

use super::control::{button, pressed};
use super::graph;
use super::{asked, picture};
use crate::event::{Event, Mode};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::state::desk::{Form, form};
use crate::state::round::{Completion, Round, Stage};
use crate::words::{LookingWords, fill, percent};

/// The texts.
pub(super) fn section(state: &State) -> Node {
    let words = &state.words().rating;
    let looking = &state.words().looking;
    let colored = state.memory.colored.then_some(());
    let toggle = pressed(button("color-toggle", looking.color, Event::ColorToggled), colored);
    let heading = Node::new("h2").with("id", "completions-heading").text(words.texts);
    let mut section = Node::new("section")
        .with("id", "completions")
        .with("aria-labelledby", "completions-heading")
        .child(Node::new("div").with("class", "row apart").child(heading).child(toggle));
    if state.memory.colored {
        section = section.child(legend(looking));
    }
    let note = asked::note(state);
    let Some(round) = &state.round else {
        let empty = || Node::new("p").with("class", "hint").text(words.empty);
        return section.child(note.unwrap_or_else(empty));
    };
    section = section.children(note);
    section = section.children(given(state, round));
    let places = (0..round.completions.len()).map(|place| completion(state, round, place));
    let class = match round.mode {
        Mode::Pair => "pair",
        Mode::Single => "single",
    };
    section.child(Node::new("div").with("class", class).children(places))
}

/// What the shades mean.
fn legend(words: &LookingWords) -> Node {
    let classes = [
        ("token p0", words.class_0),
        ("token p1", words.class_1),
        ("token p2", words.class_2),
        ("token p3", words.class_3),
        ("token p4", words.class_4),
    ];
    let entry = |(class, text): (&'static str, &str)| {
        Node::new("li").child(Node::new("span").with("class", class).text(text))
    };
    Node::new("div")
        .with("class", "legend")
        .child(Node::new("span").with("id", "legend-label").text(words.legend))
        .child(Node::new("ul").with("aria-labelledby", "legend-label").children(classes.map(entry)))
}

/// The prompt, where no conversation on the desk shows it.
fn given(state: &State, round: &Round) -> Option<Node> {
    if round.query.is_some() {
        return Some(prompt_of_query(state, round));
    }
    let text = match form(&round.task) {
        Form::Conversation => return None,
        Form::Text => round.text.clone(),
        Form::Message => round.messages.last()?.content.clone(),
    };
    let label = Node::new("span").with("class", "who").text(state.words().rating.given);
    let said = Node::new("p").text(text);
    let given = Node::new("div").with("class", "given").child(label);
    Some(given.children(looked_at(state, round)).child(said))
}

/// All that the collector has the policies read, but the name of the task.
fn prompt_of_query(state: &State, round: &Round) -> Node {
    let words = state.words();
    let said = round.messages.iter().filter(|message| message.role != "system");
    let mut parts: Vec<(&str, &str)> = Vec::new();
    for message in said {
        let who = match message.role.as_str() {
            "user" => words.rating.given,
            _ => words.desk.policy_said,
        };
        parts.push((who, message.content.trim()));
    }
    if !round.text.is_empty() {
        parts.push((words.rating.given, &round.text));
    }
    let parts = parts.into_iter().flat_map(|(who, text)| {
        let label = Node::new("span").with("class", "who").text(who);
        [label, Node::new("p").text(text)]
    });
    Node::new("div").with("class", "given").children(looked_at(state, round)).children(parts)
}

fn looked_at(state: &State, round: &Round) -> Option<Node> {
    round.picture.as_ref().map(|picture| picture::looked_at(state, picture))
}

fn completion(state: &State, round: &Round, place: usize) -> Node {
    let words = &state.words().rating;
    let completion = &round.completions[place];
    let name = match (round.mode, place) {
        (Mode::Single, _) => words.only,
        (Mode::Pair, 0) => words.left,
        (Mode::Pair, _) => words.right,
    };
    let heading = format!("text-{place}");
    let chosen = is_chosen(round, place);
    let busy = completion.is_open();
    let mut head = Node::new("div")
        .with("class", "head")
        .child(Node::new("h3").with("id", heading.clone()).text(name))
        .child(Node::new("span").with("class", "stage").text(stage(state, completion)));
    if chosen {
        head = head
            .child(Node::new("strong").with("class", "mark").text(format!("✓ {}", words.chosen)));
    }
    let article = Node::new("article")
        .with("class", if chosen { "completion chosen" } else { "completion" })
        .with("data-place", place.to_string())
        .with("aria-labelledby", heading)
        .with("aria-busy", if busy { "true" } else { "false" })
        .child(head)
        .child(text(state, completion, place));
    let graph = has_graph(round, completion).then(|| {
        let earlier = round.completions[..place].iter().filter(|other| has_graph(round, other));
        let n_before = earlier.filter(|other| graph::has_facts(&other.whole())).count();
        graph::drawing(state, &completion.whole(), n_before)
    });
    article.children(graph).child(report(state, round, place))
}

/// Whether the text is one of facts, and whole.
fn has_graph(round: &Round, completion: &Completion) -> bool {
    round.task == "triples" && completion.ended().is_some()
}

/// Whether the verdict is for this text.
fn is_chosen(round: &Round, place: usize) -> bool {
    match round.judged.as_ref().map(|judged| &judged.verdict) {
        Some(Verdict::Pair(PairChoice::Left)) => place == 0,
        Some(Verdict::Pair(PairChoice::Right)) => place == 1,
        Some(
            Verdict::Pair(PairChoice::Tie | PairChoice::BothBad)
            | Verdict::Thumbs(_)
            | Verdict::Stars(_)
            | Verdict::Edit(_)
            | Verdict::Report,
        )
        | None => false,
    }
}

fn stage(state: &State, completion: &Completion) -> &'static str {
    let words = &state.words().rating;
    match completion.stage {
        Stage::Waiting => words.waiting,
        Stage::Writing => words.writing,
        Stage::Ended(EndReason::Stop) => words.ended_stop,
        Stage::Ended(EndReason::Length) => words.ended_length,
        Stage::Ended(EndReason::Interrupted) => words.ended_interrupted,
        Stage::Failed => words.failed,
    }
}

/// The fixed beginning and the tokens; tokens are buttons where one can look at them.
fn text(state: &State, completion: &Completion, place: usize) -> Node {
    let mut text = Node::new("div").with("class", "text");
    if !completion.fixed.is_empty() {
        let title = state.words().rating.fixed;
        let fixed = Node::new("span").with("class", "fixed").with("title", title);
        text = text.child(fixed.text(completion.fixed_text()));
    }
    let looks = state.memory.colored && completion.ended().is_some();
    for (at, token) in completion.tokens.iter().enumerate() {
        if looks {
            text = text.child(token_button(state, token, (place, at)));
            // A line break inside of a button breaks the button, not the line.
            let breaks = token.text.matches('\n').count();
            if breaks > 0 {
                text = text.text("\n".repeat(breaks));
            }
        } else {
            let class = if state.memory.colored { class(token) } else { "token" };
            text = text.child(Node::new("span").with("class", class).text(token.text.clone()));
        }
    }
    if let Some(sample) = &completion.shown {
        text.text(sample.text.clone())
    } else if completion.rest.is_empty() {
        text
    } else {
        text.child(Node::new("span").with("class", "rest").text(completion.rest.clone()))
    }
}

fn token_button(state: &State, token: &Written, (place, at): (usize, usize)) -> Node {
    let words = &state.words().looking;
    let is_looked_at = |inspection: &crate::state::inspection::Inspection| {
        inspection.sample == place && inspection.token == at
    };
    let looked_at = state.inspection.as_ref().is_some_and(is_looked_at);
    let name = readable(words, &token.text, token.id);
    let label = fill(words.token, &[&name, &percent(token.logprob_full)]);
    let shown = match token.text.trim_end_matches('\n') {
        "" if token.text.is_empty() => "▪".to_owned(),
        rest => rest.to_owned() + &"↵".repeat(token.text.len() - rest.len()),
    };
    let button = Node::new("button")
        .with("type", "button")
        .with("class", class(token))
        .with("aria-label", label)
        .text(shown)
        .on("click", Handler::Send(Event::TokenChosen(place, at)));
    pressed(button, looked_at.then_some(()))
}

/// A token in words: white space and tokens without text get a name.
pub(super) fn readable(words: &LookingWords, text: &str, id: u32) -> String {
    match text {
        "" => format!("#{id}"),
        blank if blank.trim().is_empty() && blank.contains('\n') => words.line_break.to_owned(),
        blank if blank.trim().is_empty() => words.space.to_owned(),
        text => text.trim().to_owned(),
    }
}

/// The shade of a token by its probability under the full softmax.
fn class(token: &Written) -> &'static str {
    let probability = token.logprob_full.exp();
    match probability {
        rare if rare < 0.05 => "token p0",
        low if low < 0.2 => "token p1",
        middle if middle < 0.5 => "token p2",
        high if high < 0.8 => "token p3",
        _ => "token p4",
    }
}

fn report(state: &State, round: &Round, place: usize) -> Node {
    let words = &state.words().rating;
    let text = match (round.mode, place) {
        (Mode::Single, _) => words.report,
        (Mode::Pair, 0) => words.report_left,
        (Mode::Pair, _) => words.report_right,
    };
    let reported = round.reported.contains(&place);
    let button = button(format!("report-{place}"), text, Event::ReportToggled(place));
    let mut foot = Node::new("div")
        .with("class", "foot")
        .child(pressed(button.with("class", "quiet"), reported.then_some(())));
    if reported {
        foot = foot.child(Node::new("strong").with("class", "mark").text(words.reported));
    }
    foot
}
