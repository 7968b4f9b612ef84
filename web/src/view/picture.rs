//! Pictures: where the visitor draws, and what the policy looked at.

use kudos_schema::{CHANNELS, Picture, hexadecimal};

use super::control::{button, labelled, pressed};
use crate::event::{Event, Pen};
use crate::node::{Handler, Node};
use crate::state::State;
use crate::state::drawing::COLORS;
use crate::words::PictureWords;

/// What a pointer does to a line.
const STROKE: [(&str, Pen); 5] = [
    ("pointerdown", Pen::Down),
    ("pointermove", Pen::Moves),
    ("pointerup", Pen::Up),
    ("pointercancel", Pen::Up),
    ("pointerleave", Pen::Up),
];

/// On the desk, where the policy has eyes.
pub(super) fn on_desk(state: &State) -> Option<Node> {
    let size = state.image_size()?;
    let words = &state.words().picture;
    let drawing = &state.desk.drawing;
    let canvas = canvas(&drawing.picture, words.heading).with("id", "picture");
    let canvas = canvas.with("aria-describedby", "picture-hint");
    let canvas = canvas.on("dragover", Handler::Picture(size)).on("drop", Handler::Picture(size));
    let canvas = STROKE.into_iter().fold(canvas, |it, (name, pen)| it.on(name, Handler::Pen(pen)));
    let file = Node::new("input")
        .with("id", "picture-file")
        .with("type", "file")
        .with("accept", "image/*")
        .on("change", Handler::Picture(size));
    let tools = Node::new("div")
        .with("class", "tools")
        .child(Node::new("p").with("id", "picture-hint").with("class", "hint").text(words.hint))
        .child(
            Node::new("div")
                .with("class", "row")
                .child(colors(words, drawing.color))
                .child(button("picture-clear", words.clear, Event::PictureCleared)),
        )
        .child(labelled("picture-file", words.file, file));
    let field = Node::new("div")
        .with("class", "drawing")
        .with("role", "group")
        .with("aria-label", words.heading)
        .child(canvas)
        .child(tools);
    Some(field)
}

/// What the policy looked at.
pub(super) fn looked_at(state: &State, picture: &Picture) -> Node {
    canvas(picture, state.words().picture.drawn)
}

fn canvas(picture: &Picture, label: &str) -> Node {
    pixels(picture.size, &picture.pixels).with("role", "img").with("aria-label", label)
}

/// The browser paints what `data-pixels` says.
fn pixels(size: usize, pixels: &[u8]) -> Node {
    Node::new("canvas")
        .with("width", size.to_string())
        .with("height", size.to_string())
        .with("data-pixels", hexadecimal(pixels))
}

fn colors(words: &PictureWords, chosen: usize) -> Node {
    let names = [
        words.black,
        words.white,
        words.red,
        words.orange,
        words.yellow,
        words.green,
        words.blue,
        words.brown,
    ];
    let one = |(place, (name, color)): (usize, (&str, [u8; CHANNELS]))| {
        let color = pixels(1, &color).with("aria-hidden", "true");
        let swatch = button(format!("color-{place}"), "", Event::ColorChosen(place))
            .with("class", "swatch")
            .with("aria-label", name)
            .with("title", name)
            .child(color);
        pressed(swatch, (place == chosen).then_some(()))
    };
    Node::new("div")
        .with("class", "row")
        .with("role", "group")
        .with("aria-label", words.color)
        .children(names.into_iter().zip(COLORS).enumerate().map(one))
}
