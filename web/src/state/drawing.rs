//! The picture that the visitor draws, or takes from their disk.
//!
//! Pixels are set here and shown by the browser: a line is what a round brush leaves on its way.

use kudos_schema::{CHANNELS, Picture};

use super::State;
use super::problem::Problem;
use super::turn::Turn;
use crate::event::{Effect, Pen, PenMove};

/// What a pen draws with: black, white, red, orange, yellow, green, blue, brown.
pub(crate) const COLORS: [[u8; CHANNELS]; 8] = [
    [38, 38, 38],
    [255, 255, 255],
    [222, 52, 45],
    [245, 140, 40],
    [253, 210, 70],
    [70, 160, 75],
    [60, 125, 215],
    [125, 80, 55],
];
/// Half the width of a line, in pixels.
const RADIUS: f64 = 1.3;
/// Tasks that are about a picture.
const SEEING: [&str; 2] = ["captions", "keywords"];

/// A picture and the pen over it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drawing {
    /// What is drawn.
    pub(crate) picture: Picture,
    /// The place of the pen's color in [`COLORS`].
    pub(crate) color: usize,
    /// Where a line goes on, in pixels.
    last: Option<(f64, f64)>,
}

impl Default for Drawing {
    fn default() -> Self {
        Self { picture: Picture::blank(0), color: 0, last: None }
    }
}

impl Drawing {
    /// A blank one for eyes of this size, if it has another.
    pub(super) fn fit(&mut self, size: usize) {
        if self.picture.size != size {
            *self = Self { picture: Picture::blank(size), color: self.color, last: None };
        }
    }

    /// The pen takes a color of [`COLORS`].
    pub(super) fn take_color(&mut self, place: usize) {
        if place < COLORS.len() {
            self.color = place;
        }
    }

    /// The picture, if something is drawn on it.
    pub(super) fn shown(&self) -> Option<&Picture> {
        Some(&self.picture).filter(|picture| !picture.is_blank())
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let steps = (2.0 * dx.hypot(dy)).ceil().max(1.0);
        for step in 0..=steps as usize {
            let share = step as f64 / steps;
            self.dot((from.0 + share * dx, from.1 + share * dy));
        }
    }

    fn dot(&mut self, center: (f64, f64)) {
        let size = self.picture.size;
        let color = COLORS[self.color];
        for (place, pixel) in self.picture.pixels.chunks_exact_mut(CHANNELS).enumerate() {
            let (x, y) = ((place % size) as f64 + 0.5, (place / size) as f64 + 0.5);
            if (x - center.0).hypot(y - center.1) <= RADIUS {
                pixel.copy_from_slice(&color);
            }
        }
    }
}

impl State {
    /// Pixels along one side of the pictures that the policy at hand looks at, if it has eyes.
    pub(crate) fn image_size(&self) -> Option<usize> {
        self.bundle.manifest.as_ref()?.image_size
    }

    /// What the policy at hand is shown.
    pub(super) fn picture(&self) -> Option<Picture> {
        self.image_size().and_then(|_| self.desk.drawing.shown().cloned())
    }

    /// Whether the task is about a picture and there is none.
    pub(super) fn lacks_picture(&self) -> bool {
        let asked = self.image_size().is_some() && SEEING.contains(&self.desk.task.as_str());
        asked && self.picture().is_none()
    }
}

/// The pen did something.
pub(super) fn pen_moved(state: &mut State, PenMove { x, y, pen }: PenMove) {
    let drawing = &mut state.desk.drawing;
    let size = drawing.picture.size as f64;
    let to = (x * size, y * size);
    let from = match pen {
        Pen::Down => Some(to),
        Pen::Moves => drawing.last,
        Pen::Up => None,
    };
    if let Some(from) = from {
        drawing.line(from, to);
    }
    drawing.last = from.map(|_| to);
    // Not before: what goes away above the picture moves it under the pen.
    if pen == Pen::Up {
        seen(state);
    }
}

/// A picture came from the visitor's disk, or the file was none.
pub(super) fn came(state: &mut State, picture: Option<Picture>, turn: &mut Turn<'_>) {
    let Some(size) = state.image_size() else { return };
    match picture {
        Some(picture) if picture.size == size => {
            state.desk.drawing.picture = picture;
            turn.ask(Effect::Announce(state.words().picture.there.to_owned()));
            seen(state);
        }
        // The policy was changed meanwhile.
        Some(_) => {}
        None => state.problem = Some(Problem::NotAPicture),
    }
}

/// The picture is to be blank again.
pub(super) fn clear(state: &mut State) {
    let drawing = &mut state.desk.drawing;
    drawing.picture = Picture::blank(drawing.picture.size);
}

/// What was missing is there.
fn seen(state: &mut State) {
    let about_pictures = [Problem::NoPicture, Problem::NotAPicture];
    if state.problem.as_ref().is_some_and(|problem| about_pictures.contains(problem)) {
        state.problem = None;
    }
}
