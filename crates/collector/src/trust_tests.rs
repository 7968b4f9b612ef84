//! Weights of raters from what a collector keeps: a spammer, somebody contrary, and honest ones.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// The raters: eight honest ones, one who guesses, one who says the opposite.
const RATERS: u64 = 10;
const GUESSES: u64 = 8;
const OPPOSES: u64 = 9;

fn judged(rater: u64, item: u64, verdict: (&str, &str)) -> Judged {
    let side = |name: &str| (name.to_owned(), "t1".to_owned());
    Judged {
        rater: format!("rater {rater}"),
        item: format!("{item:032x}"),
        verdict: (verdict.0.to_owned(), verdict.1.to_owned()),
        said: format!("{} {}", verdict.0, verdict.1),
        left: side("left"),
        right: side("right"),
        agreed: -1,
        ..Judged::default()
    }
}

/// What everybody says, each being honest in 9 of 10 cases: `say` makes it of rater, turn, and whether it is right.
fn heard(turns: u64, say: impl Fn(u64, u64, bool) -> Judged) -> Heard {
    let mut coins = ChaCha8Rng::seed_from_u64(7);
    let mut heard = Heard::default();
    for turn in 0..turns {
        for rater in 0..RATERS {
            let rightly = match rater {
                GUESSES => 0.5,
                OPPOSES => 0.1,
                _ => 0.9,
            };
            heard.add(say(rater, turn, coins.random::<f64>() < rightly));
        }
    }
    heard
}

fn check(heard: Heard) {
    let weights = heard.weights();
    let of = |rater: u64| weights.of(&format!("rater {rater}"));
    let least = (0..GUESSES).map(|rater| of(rater).mean).fold(1.0, f64::min);
    assert!(least > 0.5, "{weights:?}");
    assert!(of(GUESSES).mean < least / 2.0 && of(OPPOSES).mean < least / 4.0, "{weights:?}");
    assert!(of(GUESSES).high < least, "{weights:?}");
    for rater in 0..RATERS {
        let Estimate { mean, low, high } = of(rater);
        assert!(0.0 <= low && low <= mean && mean <= high && high <= 1.0, "{weights:?}");
        assert!(high - low < 0.6, "there is something to go by: {weights:?}");
    }
}

/// Hash of one of the two texts of an item: which of them sorts first is chance.
fn text(item: u64, place: u64) -> String {
    format!("{:032x}", (2 * item + place).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn items_that_several_judged_tell_who_guesses() {
    check(heard(60, |rater, turn, right| {
        let side = if right { "left" } else { "right" };
        Judged {
            said: format!("pair {}", text(turn, u64::from(right))),
            ..judged(rater, turn, ("pair", side))
        }
    }));
    check(heard(60, |rater, turn, right| {
        let up = right == (turn % 3 == 0);
        judged(rater, turn, ("thumbs", if up { "up" } else { "down" }))
    }));
    check(heard(60, |rater, turn, right| {
        let stars = if right { turn % 5 } else { (turn + 2) % 5 } + 1;
        judged(rater, turn, ("stars", &stars.to_string()))
    }));
}

#[test]
fn meetings_of_policies_tell_who_guesses_where_no_item_was_judged_twice() {
    check(heard(200, |rater, turn, right| {
        let item = turn * RATERS + rater;
        let side = if right == (turn % 2 == 0) { "left" } else { "right" };
        let names = ["weak", "middle", "strong"];
        let (weak, strong) = [(0, 1), (1, 2), (0, 2)][turn as usize % 3];
        let [weak, strong] =
            [weak, strong].map(|place: usize| (names[place].to_owned(), String::new()));
        let (left, right) = if turn % 2 == 0 { (strong, weak) } else { (weak, strong) };
        let said = format!("pair {}", text(item, u64::from(side == "left")));
        Judged { said, left, right, ..judged(rater, item, ("pair", side)) }
    }));
}

#[test]
fn gold_items_tell_who_guesses_whatever_else_was_said() {
    check(heard(60, |rater, turn, right| Judged {
        asked: "gold".to_owned(),
        agreed: i64::from(right),
        ..judged(rater, turn, ("thumbs", "up"))
    }));
}

#[test]
fn who_says_another_thing_the_second_time_weighs_less() {
    let mut heard = Heard::default();
    for turn in 0..40 {
        for (rater, agreed) in [(0, 1), (1, i64::from(turn % 2 == 0))] {
            let asked = "repeat".to_owned();
            heard.add(Judged { asked, agreed, ..judged(rater, turn, ("thumbs", "up")) });
        }
    }
    let weights = heard.weights();
    assert!(weights.of("rater 1").mean < weights.of("rater 0").mean / 2.0, "{weights:?}");
}

#[test]
fn of_whom_nothing_is_known_weighs_as_all_do_on_average() {
    let nothing = Heard::default().weights();
    assert_eq!(nothing.of("anybody"), Estimate { mean: 1.0, low: 0.0, high: 1.0 });
    let mut heard = Heard::default();
    for turn in 0..20 {
        let asked = "gold".to_owned();
        heard.add(Judged {
            asked,
            agreed: i64::from(turn % 4 > 0),
            ..judged(1, turn, ("thumbs", "up"))
        });
        heard.add(judged(2, turn, ("thumbs", "up")));
    }
    let weights = heard.weights();
    assert_eq!(weights.raters.len(), 1, "who is as all others needs no place");
    // Right in 3 of 4, where guessing is right in 1 of 2.
    let expected = Estimate { mean: 0.5, low: 0.0, high: 1.0 };
    assert_eq!((weights.of("rater 2"), weights.of("anybody")), (expected, expected));
}

#[test]
fn each_rater_counts_once_an_item_and_a_choice_between_equal_texts_never() {
    let mut heard = Heard::default();
    for verdict in [("thumbs", "up"), ("thumbs", "down"), ("stars", "3")] {
        heard.add(judged(1, 5, verdict));
    }
    heard.add(Judged { said: String::new(), ..judged(1, 6, ("pair", "left")) });
    assert_eq!(heard.judgements.len(), 2, "{heard:?}");
    assert_eq!(heard.judgements[0].said, Said::Class(1));
}
