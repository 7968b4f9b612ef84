//! The panel about one token.

use kudos_schema::Alternative;

use super::completions::readable;
use super::control::{button, pair};
use crate::event::{Event, Mode};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::state::inspection::{Answer, Inspection};
use crate::words::{LookingWords, fill, percent};

/// The panel; without a token, it is empty and hidden.
pub(super) fn panel(state: &State) -> Node {
    let panel = Node::new("section").with("id", "token-panel");
    let Some(inspection) = &state.inspection else { return panel.with("hidden", "") };
    let words = &state.words().looking;
    let written = &inspection.written;
    let name = readable(words, &written.text, written.id);
    let numbers = Node::new("dl")
        .children(pair(words.full, probability(words, written.logprob_full)))
        .children(pair(words.drawn, probability(words, written.logprob_drawn)));
    panel
        .with("class", "panel")
        .with("tabindex", "-1")
        .with("aria-labelledby", "token-heading")
        .child(Node::new("h2").with("id", "token-heading").text(fill(words.heading, &[&name])))
        .child(numbers)
        .child(Node::new("h3").text(words.alternatives))
        .children(alternatives(state, inspection))
        .child(button("token-close", words.close, Event::TokenClosed))
}

/// A probability with its logarithm in nats.
fn probability(words: &LookingWords, logprob_nats: f32) -> String {
    // Zero has no sign: what rounds to it would keep that of a negative number.
    let nats = (logprob_nats * 1000.0).round() / 1000.0 + 0.0;
    fill(words.probability, &[&percent(logprob_nats), &format!("{nats:.3}")])
}

fn alternatives(state: &State, inspection: &Inspection) -> Vec<Node> {
    let words = &state.words().looking;
    let hint = |text: &str| Node::new("p").with("class", "hint").text(text);
    let list = match &inspection.answer {
        Answer::Waiting | Answer::Asked(..) => return vec![hint(words.waiting)],
        Answer::Failed => return vec![hint(words.failed)],
        Answer::Known(list) => list,
    };
    let rows = list.iter().map(|alternative| row(state, inspection, alternative));
    let mut nodes = vec![hint(words.branch_hint)];
    if state.shown_mode() == Mode::Pair {
        nodes.push(hint(words.branch_pair));
    }
    nodes.push(Node::new("ul").with("class", "alternatives").children(rows));
    nodes
}

fn row(state: &State, inspection: &Inspection, alternative: &Alternative) -> Node {
    let words = &state.words().looking;
    let name = readable(words, &alternative.text, alternative.id);
    let full = probability(words, alternative.logprob_full);
    let drawn = match alternative.logprob_drawn {
        Some(logprob) => percent(logprob),
        None => words.cut_off.to_owned(),
    };
    let numbers = format!("{full} · {}: {drawn}", words.drawn);
    let numbers = Node::new("span").with("class", "numbers").text(numbers);
    let row = Node::new("li");
    if state.ends_text(alternative.id) {
        let name = Node::new("span").text(format!("{name} ({})", words.ends));
        return row.child(name).child(numbers);
    }
    let label = fill(words.branch, &[&name, &percent(alternative.logprob_full)]);
    let button = Node::new("button")
        .with("type", "button")
        .with("class", "alternative")
        .with("aria-label", label)
        .text(name)
        .on("click", Handler::Send(Event::Branched(alternative.id)));
    let row = row.child(button).child(numbers);
    if alternative.id == inspection.written.id {
        row.child(Node::new("strong").with("class", "mark").text(words.this_one))
    } else {
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Locale;
    use crate::words::of;

    #[test]
    fn what_rounds_to_zero_has_no_sign() {
        let said = |nats| probability(&of(Locale::English).looking, nats);
        assert_eq!(said(-0.0001), "100.0 % (0.000 nats)");
        assert_eq!(said(-0.0006), "99.9 % (-0.001 nats)");
    }
}
