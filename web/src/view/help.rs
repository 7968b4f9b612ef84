//! What this page is, and its keys.

use crate::node::Node;
use crate::state::State;

/// The inside of the panel.
pub(super) fn inside(state: &State) -> Vec<Node> {
    let words = &state.words().help;
    let keys = [
        (&["←", "1"][..], words.left),
        (&["→", "2"], words.right),
        (&["="], words.tie),
        (&["x"], words.both_bad),
        (&["+", "-"], words.thumbs),
        (&["1", "2", "3", "4", "5"], words.stars),
        (&["e"], words.edit),
        (&["w"], words.write),
        (&["n"], words.another),
        (&["q"], words.asked),
        (&["s"], words.skip),
        (&["u"], words.undo),
        (&["r", "R"], words.report),
        (&["c"], words.color),
        (&["Esc"], words.escape),
        (&["?"], words.help),
    ];
    let head = Node::new("tr").children([
        Node::new("th").with("scope", "col").text(words.key),
        Node::new("th").with("scope", "col").text(words.does),
    ]);
    let row = |(keys, does): (&[&str], &str)| {
        let keys = keys.iter().map(|key| Node::new("kbd").text(*key));
        Node::new("tr").child(Node::new("td").children(keys)).child(Node::new("td").text(does))
    };
    vec![
        Node::new("p").text(words.about),
        Node::new("p").text(words.how),
        Node::new("h3").text(words.keys),
        Node::new("table")
            .child(Node::new("thead").child(head))
            .child(Node::new("tbody").children(keys.map(row))),
        Node::new("p").text(words.off),
    ]
}
