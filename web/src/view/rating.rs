//! The verdict: buttons, reasons, remark. No policy is named before the verdict.

use kudos_schema::{PairChoice, Thumb, Verdict};

use super::asked;
use super::control::{Usable, button, labelled, pressed, usable};
use crate::event::{Event, Mode};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::state::asked::SHOWN;
use crate::state::judging::{Judgeable, REASONS};
use crate::state::record::{MAX_EDIT_BYTES, MAX_REMARK_BYTES};
use crate::words::{RatingWords, fill};

/// The rating area.
pub(super) fn section(state: &State) -> Node {
    let words = &state.words().rating;
    let mode = state.shown_mode();
    let heading = match mode {
        Mode::Pair => words.heading_pair,
        Mode::Single => words.heading_single,
    };
    let verdicts = match mode {
        Mode::Pair => pair(state),
        Mode::Single => single(state),
    };
    Node::new("section")
        .with("id", "rating")
        .with("aria-labelledby", "rating-heading")
        .child(Node::new("h2").with("id", "rating-heading").text(heading))
        .child(Node::new("p").with("class", "hint").text(hint(state)))
        .child(verdicts)
        .children(edit(state))
        .child(row(state))
        .child(reasons(state))
        .children(remark(state))
        .children(written_by(state))
}

fn hint(state: &State) -> &'static str {
    let words = &state.words().rating;
    let Some(round) = &state.round else { return words.not_yet };
    match state.judgeable() {
        Judgeable::NotYet if round.is_busy() => words.not_yet,
        Judgeable::NotYet => words.incomplete,
        Judgeable::Locked => words.locked,
        Judgeable::Open if round.judged.is_some() => words.changeable,
        Judgeable::Open => "",
    }
}

fn open(state: &State) -> Usable {
    Usable::when((state.judgeable() == Judgeable::Open).then_some(()))
}

/// The verdict that was given.
fn given(state: &State) -> Option<&Verdict> {
    Some(&state.round.as_ref()?.judged.as_ref()?.verdict)
}

/// A button that gives a verdict and shows whether it was given.
fn verdict(state: &State, (id, text): (&'static str, &str), verdict: Verdict) -> Node {
    let event = match &verdict {
        Verdict::Pair(value) => Event::PairJudged(*value),
        Verdict::Thumbs(value) => Event::Thumbed(*value),
        Verdict::Stars(value) => Event::Starred(*value),
        Verdict::Edit(_) => Event::EditOpened,
        Verdict::Report => Event::SkipPressed,
    };
    let is_given = (given(state) == Some(&verdict)).then_some(());
    usable(pressed(button(id, text, event), is_given), open(state))
}

fn pair(state: &State) -> Node {
    let words = &state.words().rating;
    let one = |id: &'static str, text: &str, value: PairChoice| {
        verdict(state, (id, text), Verdict::Pair(value))
    };
    Node::new("div").with("class", "verdicts").children([
        one("judge-left", words.judge_left, PairChoice::Left),
        one("judge-tie", words.judge_tie, PairChoice::Tie),
        one("judge-both-bad", words.judge_both_bad, PairChoice::BothBad),
        one("judge-right", words.judge_right, PairChoice::Right),
    ])
}

fn single(state: &State) -> Node {
    let words = &state.words().rating;
    let group = |label: &str, buttons: Vec<Node>| {
        Node::new("div")
            .with("class", "joined")
            .with("role", "group")
            .with("aria-label", label)
            .children(buttons)
    };
    let thumb = |id: &'static str, text: &str, value: Thumb| {
        verdict(state, (id, text), Verdict::Thumbs(value))
    };
    let stars = (1..=5).zip(["star-1", "star-2", "star-3", "star-4", "star-5"]);
    let star = |(value, id): (u8, &'static str)| {
        let label = fill(words.star, &[&value.to_string()]);
        let filled = match given(state) {
            Some(Verdict::Stars(given)) => *given,
            Some(Verdict::Pair(_) | Verdict::Thumbs(_) | Verdict::Edit(_) | Verdict::Report)
            | None => 0,
        };
        let sign = if value <= filled { "★" } else { "☆" };
        verdict(state, (id, sign), Verdict::Stars(value)).with("aria-label", label)
    };
    let edited = matches!(given(state), Some(Verdict::Edit(_))).then_some(());
    let edit = pressed(button("edit", words.edit, Event::EditOpened), edited);
    Node::new("div").with("class", "verdicts").children([
        group(
            words.thumbs,
            vec![
                thumb("thumb-up", &format!("▲ {}", words.thumb_up), Thumb::Up),
                thumb("thumb-down", &format!("▼ {}", words.thumb_down), Thumb::Down),
            ],
        ),
        group(words.stars, stars.map(star).collect()),
        usable(edit, open(state)),
    ])
}

fn edit(state: &State) -> Option<Node> {
    let words = &state.words().rating;
    let text = state.round.as_ref()?.edit.as_ref()?;
    let field = Node::new("textarea")
        .with("id", "edit-text")
        .with("rows", "4")
        .with("maxlength", MAX_EDIT_BYTES.to_string())
        .with("value", text.clone())
        .on("input", Handler::Value(Event::EditTyped));
    let save = button("edit-save", words.edit_save, Event::EditSaved).with("class", "main");
    let filled = (!text.trim().is_empty()).then_some(());
    let node = Node::new("div")
        .with("id", "editing")
        .child(labelled("edit-text", words.edit_label, field))
        .child(Node::new("div").with("class", "row").children([
            usable(save, Usable::when(filled)),
            button("edit-cancel", words.edit_cancel, Event::EditClosed),
        ]));
    Some(node)
}

fn row(state: &State) -> Node {
    let words = &state.words().rating;
    let undo = button("undo", words.undo, Event::UndoPressed);
    let skip = button("skip", words.skip, Event::SkipPressed);
    Node::new("div")
        .with("id", "rating-row")
        .with("class", "row")
        .children([
            usable(skip, Usable::when(state.round.as_ref().map(|_| ()))),
            usable(undo, Usable::when(state.can_undo().then_some(()))),
        ])
        .children(asked::next(state))
}

fn reason(words: &RatingWords, slug: &str) -> &'static str {
    match slug {
        "correct" => words.reason_correct,
        "clear" => words.reason_clear,
        "natural" => words.reason_natural,
        "on-topic" => words.reason_on_topic,
        "wrong" => words.reason_wrong,
        "repetitive" => words.reason_repetitive,
        "confusing" => words.reason_confusing,
        _ => words.reason_harmful,
    }
}

fn reasons(state: &State) -> Node {
    let words = &state.words().rating;
    let picked = state.round.as_ref().map_or(&[][..], |round| &round.reasons);
    let one = |slug: &'static str| {
        let is_picked = picked.iter().any(|other| other == slug).then_some(());
        let button =
            button(format!("reason-{slug}"), reason(words, slug), Event::ReasonToggled(slug));
        usable(pressed(button.with("class", "chip"), is_picked), open(state))
    };
    Node::new("fieldset")
        .with("id", "reasons")
        .child(Node::new("legend").text(words.reasons))
        .children(REASONS.map(one))
}

fn remark(state: &State) -> Option<Node> {
    let words = &state.words().rating;
    let round = state.round.as_ref()?;
    let field = Node::new("textarea")
        .with("id", "remark")
        .with("rows", "2")
        .with("maxlength", MAX_REMARK_BYTES.to_string())
        .with("aria-describedby", "remark-hint")
        .with("value", round.remark.clone())
        .on("input", Handler::Value(Event::RemarkTyped));
    let hint = Node::new("small").with("id", "remark-hint").text(words.remark_hint);
    let field = usable(field, open(state));
    Some(labelled("remark", words.remark, field).with("id", "remark-field").child(hint))
}

/// Who wrote, once the verdict is given.
fn written_by(state: &State) -> Option<Node> {
    let round = state.round.as_ref()?;
    round.judged.as_ref()?;
    let words = &state.words().rating;
    let (policy, rival) = round.policies()?;
    let policy = match rival {
        None => policy.name.clone(),
        Some(rival) => fill(words.both_policies, &[&policy.name, &rival.name]),
    };
    let backend = round.backend();
    let device = if backend == SHOWN { words.elsewhere } else { &backend };
    let text = fill(words.written_by, &[&policy, device]);
    Some(Node::new("p").with("id", "written-by").with("class", "hint").text(text))
}
