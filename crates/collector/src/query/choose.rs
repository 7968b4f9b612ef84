//! Which prompt is asked about next, and which two policies meet on it. A function of a board, a rater's past and coins.
//!
//! First a reason is drawn by its share. *Random* draws prompt and meeting uniformly, so what is learnt from it alone needs
//! no correction. The others look for information: *uncertain* draws among the tenth of prompts about which the
//! reward models disagree most, *coverage* among those with the fewest ratings, *stale* among those not rated for the longest
//! time; and the newest policy meets the one against which its win rate is known least (the widest Wilson interval).

use kudos_schema::{
    Arm, AskedReason, Meeting, PolicyId, PoolItem, RatedPrompt, Rating, Sample, Sampling,
};

use super::board::{Arena, Board};
use crate::coins::Coins;
use crate::intake::facts::shorthand;

/// The quantile of 95 % intervals.
const Z: f64 = 1.96;
/// Of sorted prompts, one in so many is drawn from.
const TENTH: usize = 10;
/// A rater's last ratings, which they may remember and are not asked for again.
const REMEMBERED: usize = 5;
/// Prompts that are drawn from at least.
const LEAST: usize = 5;

/// What is asked, before it has an id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// Why.
    pub(crate) reason: AskedReason,
    /// The task.
    pub(crate) task: String,
    /// What policies are given.
    pub(crate) prompt: RatedPrompt,
    /// Who writes.
    pub(crate) arms: Vec<Arm>,
    /// Texts to show instead.
    pub(crate) samples: Vec<Sample>,
    /// The prompt's place on the board.
    pub(crate) place: Option<usize>,
}

/// Draws what a rater is asked next, whose `earlier` ratings come the latest first; none if there is nothing to ask about.
pub(crate) fn choose(
    board: &Board,
    task: Option<&str>,
    earlier: &[Rating],
    coins: &Coins,
) -> Option<Choice> {
    let reason = draw_reason(board, coins.unit());
    let fits = |name: &str| task.is_none_or(|task| task == name);
    match reason {
        AskedReason::Gold => {
            let gold: Vec<_> = board.gold.iter().filter(|item| fits(&item.task)).collect();
            let is_fresh = |item: &&PoolItem| !earlier.iter().any(|it| is_about(it, item));
            let fresh: Vec<_> = gold.into_iter().filter(is_fresh).collect();
            if !fresh.is_empty() {
                return gold_item(fresh[coins.below(fresh.len())]);
            }
        }
        AskedReason::Repeat => {
            let is_gold =
                |it: &Rating| it.query.as_ref().is_some_and(|it| it.reason == AskedReason::Gold);
            let earlier: Vec<_> = earlier
                .iter()
                .skip(REMEMBERED)
                .filter(|it| fits(&it.task) && !is_gold(it))
                .collect();
            if !earlier.is_empty() {
                return Some(repeated(earlier[coins.below(earlier.len())]));
            }
        }
        AskedReason::Random
        | AskedReason::Uncertain
        | AskedReason::Coverage
        | AskedReason::Stale => return written(board, reason, task, coins),
    }
    // What was drawn is not there: a uniform draw in its place stays uniform.
    written(board, AskedReason::Random, task, coins)
}

fn draw_reason(board: &Board, mut coin: f64) -> AskedReason {
    let settings = &board.settings;
    let rest = 1.0 - settings.random - settings.gold - settings.repeat;
    let weights = (settings.uncertain + settings.coverage + settings.stale).max(f64::MIN_POSITIVE);
    let shares = [
        (AskedReason::Random, settings.random),
        (AskedReason::Gold, settings.gold),
        (AskedReason::Repeat, settings.repeat),
        (AskedReason::Uncertain, rest * settings.uncertain / weights),
        (AskedReason::Coverage, rest * settings.coverage / weights),
        (AskedReason::Stale, rest * settings.stale / weights),
    ];
    for (reason, share) in shares {
        if coin < share {
            return reason;
        }
        coin -= share;
    }
    AskedReason::Random
}

/// A prompt that policies write on.
fn written(
    board: &Board,
    reason: AskedReason,
    task: Option<&str>,
    coins: &Coins,
) -> Option<Choice> {
    let can = |arena: &Arena, name: &str| arena.policy.manifest.tasks.iter().any(|it| it == name);
    let fits = |place: &usize| {
        let asked = &board.prompts[*place];
        let wanted = task.is_none_or(|task| task == asked.task);
        wanted && board.policies.iter().any(|arena| can(arena, &asked.task))
    };
    let mut places: Vec<usize> = (0..board.prompts.len()).filter(fits).collect();
    let prompts = &board.prompts;
    match reason {
        AskedReason::Uncertain => {
            places.retain(|place| prompts[*place].uncertainty > 0.0);
            if places.is_empty() {
                // Nobody said what is uncertain: a drawn prompt is then a uniform one.
                return written(board, AskedReason::Random, task, coins);
            }
            places.sort_by(|a, b| prompts[*b].uncertainty.total_cmp(&prompts[*a].uncertainty));
        }
        AskedReason::Coverage => places.sort_by_key(|place| board.ratings_of(*place)),
        AskedReason::Stale => {
            places.sort_by_key(|place| (prompts[*place].last_ms, board.ratings_of(*place)))
        }
        AskedReason::Random | AskedReason::Gold | AskedReason::Repeat => {}
    }
    if reason != AskedReason::Random {
        places.truncate(places.len().div_ceil(TENTH).max(LEAST));
    }
    if places.is_empty() {
        return None;
    }
    let place = places[coins.below(places.len())];
    let asked = &prompts[place];
    let able: Vec<&Arena> = board.policies.iter().filter(|arena| can(arena, &asked.task)).collect();
    Some(Choice {
        reason,
        task: asked.task.clone(),
        prompt: RatedPrompt {
            messages: asked.prompt.messages.clone(),
            text: asked.prompt.text.clone(),
            picture: None,
            token_ids: Vec::new(),
        },
        arms: meet(&able, &board.meetings, reason, coins),
        samples: Vec::new(),
        place: Some(place),
    })
}

/// Two arms that read the same tokens.
fn meet(able: &[&Arena], meetings: &[Meeting], reason: AskedReason, coins: &Coins) -> Vec<Arm> {
    let pairs = |first: usize| {
        let others = first + 1..able.len();
        others.filter(move |other| able[*other].reads == able[first].reads)
    };
    if reason == AskedReason::Random {
        let all: Vec<_> = (0..able.len())
            .flat_map(|first| pairs(first).map(move |other| [first, other]))
            .collect();
        if !all.is_empty() {
            return all[coins.below(all.len())].map(|place| arm(able[place])).into();
        }
    }
    let known =
        |other: &usize| interval(&able[0].policy.sha256, &able[*other].policy.sha256, meetings);
    let mut rivals: Vec<usize> = pairs(0).collect();
    rivals.sort_by(|a, b| known(b).total_cmp(&known(a)));
    match rivals.first() {
        Some(rival) => vec![arm(able[0]), arm(able[*rival])],
        None => two_settings(able[0]),
    }
}

/// Width of the 95 % interval of the rate at which one policy wins over another: 1 if they never met.
/// Wilson 1927; a tie is half a win.
fn interval(one: &str, other: &str, meetings: &[Meeting]) -> f64 {
    let (mut wins, mut number) = (0.0, 0.0);
    for meeting in meetings {
        let pair = (meeting.first.as_str(), meeting.second.as_str());
        let even = (meeting.ties + meeting.both_bad) as f64;
        let own = match pair {
            pair if pair == (one, other) => meeting.first_wins,
            pair if pair == (other, one) => meeting.second_wins,
            _ => continue,
        };
        wins += own as f64 + even / 2.0;
        number += (meeting.first_wins + meeting.second_wins) as f64 + even;
    }
    if number == 0.0 {
        return 1.0;
    }
    let rate = wins / number;
    let spread = rate * (1.0 - rate) / number + Z * Z / (4.0 * number * number);
    2.0 * Z * spread.sqrt() / (1.0 + Z * Z / number)
}

fn arm(arena: &Arena) -> Arm {
    Arm { policy: id(arena), sampling: arena.policy.manifest.sampling.clone() }
}

/// The only policy as it is meant to be sampled, and cooler; or, where that is greedy, hotter.
fn two_settings(arena: &Arena) -> Vec<Arm> {
    let own = arm(arena);
    let temperature = match own.sampling.temperature {
        0.0 => 1.0,
        temperature => temperature / 2.0,
    };
    let other = Sampling { temperature, ..own.sampling.clone() };
    vec![own.clone(), Arm { sampling: other, ..own }]
}

fn id(arena: &Arena) -> PolicyId {
    let Arena { policy, .. } = arena;
    PolicyId { name: policy.manifest.name.clone(), sha256: policy.sha256.clone(), adapter: None }
}

fn gold_item(item: &PoolItem) -> Option<Choice> {
    let gold = item.gold.as_ref()?;
    let policy = |place: usize| gold.policies.get(place).or(gold.policies.first());
    let arms = gold.samples.iter().enumerate().filter_map(|(place, sample)| {
        Some(Arm { policy: policy(place)?.clone(), sampling: sample.sampling.clone() })
    });
    Some(Choice {
        reason: AskedReason::Gold,
        task: item.task.clone(),
        prompt: RatedPrompt {
            messages: item.prompt.messages.clone(),
            text: item.prompt.text.clone(),
            picture: None,
            token_ids: item.prompt.token_ids.clone(),
        },
        arms: arms.collect(),
        samples: gold.samples.clone(),
        place: None,
    })
}

/// What a rater was shown before, once more.
fn repeated(rating: &Rating) -> Choice {
    let arms = rating.samples.iter().enumerate().map(|(place, sample)| Arm {
        policy: rating.policy_of(place).clone(),
        sampling: sample.sampling.clone(),
    });
    Choice {
        reason: AskedReason::Repeat,
        task: rating.task.clone(),
        prompt: rating.prompt.clone(),
        arms: arms.collect(),
        samples: rating.samples.clone(),
        place: None,
    }
}

/// Whether a rating answers a gold item.
fn is_about(rating: &Rating, item: &PoolItem) -> bool {
    let Some(gold) = &item.gold else { return false };
    let texts = |samples: &[Sample]| {
        let mut texts: Vec<_> =
            samples.iter().map(|it| (it.text.clone(), shorthand(&it.sampling))).collect();
        texts.sort();
        texts
    };
    rating.task == item.task && texts(&rating.samples) == texts(&gold.samples)
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
