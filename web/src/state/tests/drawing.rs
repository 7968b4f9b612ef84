//! Laws of pictures: drawing, files, what goes to the engine and into the rating.

use kudos_schema::{CHANNELS, PairChoice, Picture, patch_ids};

use super::*;
use crate::event::{Pen, PenMove};
use crate::state::drawing::COLORS;
use crate::state::problem::Problem;

const SIZE: usize = 32;

/// A page whose policy has eyes and names pictures.
pub(crate) fn visit() -> Visit {
    let mut list = catalog(1000, Some(COLLECTOR));
    for entry in &mut list.policies {
        let manifest = &mut entry.manifest;
        (manifest.image_size, manifest.tasks) = (Some(SIZE), vec!["captions".into()]);
        manifest.prompts = [("captions".to_owned(), vec!["?".to_owned()])].into();
    }
    Visit::ready_with(Opening::default(), list)
}

fn pen(visit: &mut Visit, (x, y): (f64, f64), pen: Pen) {
    visit.send(Event::PenMoved(PenMove { x, y, pen }));
}

/// A line from the middle to the right.
pub(crate) fn draws(visit: &mut Visit) {
    pen(visit, (0.5, 0.5), Pen::Down);
    pen(visit, (0.9, 0.5), Pen::Moves);
    pen(visit, (0.9, 0.5), Pen::Up);
}

fn color_at(visit: &Visit, x: usize, y: usize) -> &[u8] {
    let first = CHANNELS * (y * SIZE + x);
    &visit.state.desk.drawing.picture.pixels[first..first + CHANNELS]
}

#[test]
fn a_line_goes_where_the_pen_goes_while_it_is_down() {
    let mut visit = visit();
    visit.send(Event::ColorChosen(2));
    visit.send(Event::ColorChosen(COLORS.len()));
    pen(&mut visit, (0.1, 0.1), Pen::Moves);
    assert!(visit.state.desk.drawing.picture.is_blank());
    draws(&mut visit);
    pen(&mut visit, (0.5, 0.9), Pen::Moves);
    for x in 16..29 {
        assert_eq!(color_at(&visit, x, 16), COLORS[2], "{x}");
    }
    assert_eq!(color_at(&visit, 16, 28), [255; 3], "it was lifted before");
    // Beyond the edge nothing is drawn, and nothing breaks.
    pen(&mut visit, (-3.0, 9.0), Pen::Down);
    pen(&mut visit, (0.0, 0.0), Pen::Moves);
    visit.send(Event::PictureCleared);
    assert!(visit.state.desk.drawing.picture.is_blank());
}

#[test]
fn a_task_about_pictures_needs_one() {
    let mut visit = visit();
    let effects = visit.send(Event::WritePressed);
    assert_eq!(visit.state.problem, Some(Problem::NoPicture));
    assert_eq!(effects, [Effect::Focus("picture-file")]);
    visit.send(Event::PictureCame(None));
    assert_eq!(visit.state.problem, Some(Problem::NotAPicture));
    draws(&mut visit);
    assert_eq!(visit.state.problem, None);
    visit.send(Event::WritePressed);
    assert_eq!(visit.asked().1.picture, Some(visit.state.desk.drawing.picture.clone()));
}

#[test]
fn a_rating_holds_what_was_looked_at_and_not_what_was_drawn_later() {
    let mut visit = visit();
    let picture = Picture { size: SIZE, pixels: vec![7; CHANNELS * SIZE * SIZE] };
    visit.send(Event::PictureCame(Some(picture.clone())));
    visit.send(Event::WritePressed);
    for word in ["one", "another"] {
        let (kind, request) = visit.asked();
        let prompt_ids = [patch_ids(0, SIZE), vec![1, 2]].concat();
        visit.reply(kind, Reply::Began { id: request.id, prompt_ids });
        let tokens = vec![token(10, word)];
        visit.reply(kind, Reply::Wrote { id: request.id, tokens });
        visit.ends(EndReason::Stop);
    }
    visit.send(Event::PictureCleared);
    visit.send(Event::PairJudged(PairChoice::Left));
    let rating = visit.rating();
    assert_eq!(rating.prompt.picture.as_ref(), Some(&picture));
    assert_eq!(rating.prompt.tokens(), [1, 2]);
    assert_eq!(rating.validate(), Ok(()));
    visit.send(Event::TokenChosen(0, 0));
    let question = visit.effects.iter().rev().find_map(|effect| {
        let Effect::Ask(_, Request::Alternatives(question)) = effect else { return None };
        Some(question)
    });
    assert_eq!(question.unwrap().picture.as_ref(), Some(&picture));
}

#[test]
fn a_policy_without_eyes_is_shown_nothing() {
    let mut blind = Visit::ready();
    draws(&mut blind);
    blind.send(Event::PictureCame(Some(Picture::blank(SIZE))));
    blind.send(Event::WritePressed);
    assert_eq!(blind.asked().1.picture, None);
}
