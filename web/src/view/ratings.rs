//! The panel of ratings: how many, what leaves the page, export, deletion.

use kudos_schema::ExportShape;

use super::control::{Usable, button, usable};
use crate::event::Event;
use crate::node::Node;
use crate::state::State;
use crate::state::record::outgoing;
use crate::words::fill;

/// The inside of the panel.
pub(super) fn inside(state: &State) -> Vec<Node> {
    let words = &state.words().ratings;
    let session = state.n_of_session().to_string();
    let kept = state.ratings.len().to_string();
    let count = fill(words.count, &[&session, &kept]);
    let mut nodes = vec![Node::new("p").with("id", "session-count").text(count)];
    nodes.extend(sending(state));
    nodes.extend(export(state));
    nodes.extend(preview(state));
    nodes.extend(rater(state));
    nodes.extend(deletion(state));
    nodes
}

/// Where ratings go.
fn sending(state: &State) -> Vec<Node> {
    let words = &state.words().ratings;
    let paragraph = |text: &str| Node::new("p").text(text);
    let Some(collector) = state.collector() else { return vec![paragraph(words.no_collector)] };
    let unsent = state.n_unsent();
    let outbox = &state.outbox;
    let waits = unsent > 0 && outbox.in_flight.is_empty() && !state.offline;
    let send = button("send-now", words.send, Event::SendPressed);
    let mut nodes = vec![
        paragraph(&fill(words.where_kept, &[collector])),
        paragraph(&fill(words.unsent, &[&unsent.to_string()])),
        Node::new("div")
            .with("class", "row")
            .child(usable(send, Usable::when(waits.then_some(())))),
    ];
    if !outbox.in_flight.is_empty() {
        nodes.push(paragraph(words.sending));
    } else if outbox.failures > 0 {
        nodes.push(paragraph(words.failures).with("class", "note"));
    }
    let refused = outbox
        .refused
        .iter()
        .map(|(id, reason)| Node::new("li").text(fill(words.refused, &[id, reason])));
    if !outbox.refused.is_empty() {
        nodes.push(Node::new("ul").with("id", "refused").children(refused));
    }
    nodes
}

fn export(state: &State) -> Vec<Node> {
    let words = &state.words().ratings;
    let one = |shape: ExportShape| {
        let (id, text) = match shape {
            ExportShape::Ratings => ("export-ratings", words.export_ratings),
            ExportShape::Preference => ("export-preference", words.export_preference),
            ExportShape::Unpaired => ("export-unpaired", words.export_unpaired),
            ExportShape::Scalar => ("export-scalar", words.export_scalar),
            ExportShape::Sft => ("export-sft", words.export_sft),
        };
        let some = (!state.ratings.is_empty()).then_some(());
        usable(button(id, text, Event::ExportPressed(shape)), Usable::when(some))
    };
    vec![
        Node::new("h3").text(words.export),
        Node::new("p").with("class", "hint").text(words.export_hint),
        Node::new("div").with("class", "row").children(ExportShape::ALL.map(one)),
    ]
}

/// The last rating as it leaves the page.
fn preview(state: &State) -> Vec<Node> {
    let words = &state.words().ratings;
    let shown = state
        .ratings
        .last()
        .map(|stored| serde_json::to_string(&outgoing(&stored.rating)).expect("a rating is JSON"));
    let shown = shown.map(|text| in_lines(&text));
    vec![
        Node::new("h3").with("id", "preview-heading").text(words.preview),
        Node::new("p").with("class", "hint").text(words.preview_hint),
        Node::new("pre")
            .with("id", "preview")
            .with("tabindex", "0")
            .with("role", "region")
            .with("aria-labelledby", "preview-heading")
            .text(shown.unwrap_or_else(|| words.preview_none.to_owned())),
    ]
}

/// JSON in lines, each list of numbers in one of them. `serde_json` would lay it out by writing the rating
/// with a second copy of everything that writes it.
fn in_lines(json: &str) -> String {
    let mut lines = String::new();
    let (mut depth, mut flat, mut quoted, mut escaped) = (0, false, false, false);
    for (at, letter) in json.char_indices() {
        let rest = &json[at + letter.len_utf8()..];
        let opens = !quoted && matches!(letter, '{' | '[');
        let closes = !quoted && matches!(letter, '}' | ']');
        let next = !quoted && letter == ',';
        if quoted {
            quoted = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
        } else if letter == '"' {
            quoted = true;
        }
        if opens {
            flat = rest.find(['"', '[', '{', ']']).is_some_and(|end| rest[end..].starts_with(']'));
            depth += usize::from(!flat);
        }
        if closes && !flat {
            depth -= 1;
            break_line(&mut lines, depth);
        }
        lines.push(letter);
        if (opens || next) && !flat {
            break_line(&mut lines, depth);
        } else if next || (!quoted && letter == ':') {
            lines.push(' ');
        }
        flat &= !closes;
    }
    lines
}

fn break_line(lines: &mut String, depth: usize) {
    lines.push('\n');
    lines.extend(std::iter::repeat_n("  ", depth));
}

fn rater(state: &State) -> Vec<Node> {
    let words = &state.words().ratings;
    let number = Node::new("code").text(state.memory.rater.clone());
    vec![
        Node::new("h3").text(words.rater),
        Node::new("p").child(number),
        Node::new("p").with("class", "hint").text(words.rater_hint),
        Node::new("div").with("class", "row").child(button(
            "rater-reset",
            words.rater_reset,
            Event::RaterReset,
        )),
    ]
}

fn deletion(state: &State) -> Vec<Node> {
    let words = &state.words().ratings;
    let delete =
        button("ratings-delete", words.delete, Event::RatingsDeleted).with("class", "danger");
    let some = (!state.ratings.is_empty()).then_some(());
    let mut row = Node::new("div").with("class", "row").child(usable(delete, Usable::when(some)));
    if !state.deleted.is_empty() {
        let text = fill(words.bring_back, &[&state.deleted.len().to_string()]);
        row = row.child(button("bring-back", &text, Event::UndoPressed));
    }
    vec![
        Node::new("h3").text(words.delete),
        Node::new("p").with("class", "hint").text(words.delete_hint),
        row,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_stand_in_one_line_and_nothing_is_lost() {
        let value = serde_json::json!({
            "a": [1, -2.5, 3], "b": [], "c": ["1", "2: {x}, \"[3,4]\\\\"], "d": [[1], [2]], "e": {"f": null},
        });
        let text = in_lines(&value.to_string());
        assert!(text.contains("\"a\": [1, -2.5, 3],\n"), "{text}");
        assert!(text.contains("\n  \"e\": {\n    \"f\": null\n  }\n}"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
