//! One round: what is drawn, who is better, and what is learned from it.

use anyhow::Result;
use kudos_core::objective::{Contest, Pair as Scored, nash_md};
use kudos_core::rollout::{Coins, Generation, Mixture};
use kudos_core::task::Item;

use crate::policy::Policy;
use crate::rated::method::{At, Pair, Taught, tokens};
use crate::rated::pairs::teach;
use crate::recipe::{Pairing, SelfPlay};
use crate::reinforce::Setting;
use crate::reinforce::collect::{Draw, Rewarded, earned, rewarded};
use crate::usage::usage;

/// Who plays, and where the run stands.
#[derive(Clone, Copy)]
pub(super) struct Players<'a> {
    pub(super) setting: &'a Setting<'a>,
    /// The policy, for drawing.
    pub(super) policy: &'a Policy,
    pub(super) at: &'a At<'a>,
    pub(super) step: usize,
}

/// A round.
pub(super) struct Played<'a> {
    /// What was drawn first, and what it earned.
    pub(super) rewarded: Rewarded<'a>,
    pub(super) taught: Taught,
}

/// A prompt with its tokens.
type Asked<'a> = &'a (Item, Vec<u32>);

/// Plays the game of the recipe for these prompts.
///
/// # Errors
/// A failing device.
pub(super) fn play<'a>(players: &Players<'_>, items: Vec<Asked<'a>>) -> Result<Played<'a>> {
    match players.at.recipe.self_play.method {
        SelfPlay::OnlineDpo(pairing) => online_dpo(players, items, pairing),
        SelfPlay::Spin { .. } => spin(players, items),
        SelfPlay::NashMd { mixture } => nash(players, items, mixture),
    }
}

/// Completions of `writer`, in groups, with what they earn.
fn drawn<'a>(
    players: &Players<'_>,
    writer: &Policy,
    items: Vec<Asked<'a>>,
) -> Result<Rewarded<'a>> {
    let recipe = players.at.recipe;
    let coins = Coins::new(recipe.seed, players.step as u64);
    let group = recipe.batch.num_generations;
    let draw = Draw { sampling: &recipe.sampling, coins, first_index: 0, group };
    rewarded(players.setting, writer, items, &draw)
}

/// The better of two completions is chosen.
fn online_dpo<'a>(
    players: &Players<'_>,
    items: Vec<Asked<'a>>,
    pairing: Pairing,
) -> Result<Played<'a>> {
    let rewarded = drawn(players, players.policy, items)?;
    let recipe = players.at.recipe;
    let pairs = pairing.pairs(&rewarded.totals, recipe.batch.num_generations);
    let rows: Vec<Pair<'_>> =
        pairs.iter().flatten().map(|row| completion(&rewarded, *row)).collect();
    let taught = of_pairs(players, &rows)?;
    Ok(Played { rewarded, taught })
}

/// The data's reference is chosen over what the opponent wrote.
fn spin<'a>(players: &Players<'_>, items: Vec<Asked<'a>>) -> Result<Played<'a>> {
    let opponent = Policy { model: players.at.models.reference.clone(), ..players.policy.clone() };
    let rewarded = drawn(players, &opponent, items)?;
    let group = players.at.recipe.batch.num_generations;
    let references = rewarded.items.iter().map(|(item, _)| {
        players.policy.encode_completion(item.references.first().expect("kept with a reference"))
    });
    let references: Vec<Vec<u32>> = references.collect();
    let both = |row: usize| {
        let rejected = completion(&rewarded, row);
        [(rejected.0, &references[row / group][..]), rejected]
    };
    let rows = 0..rewarded.rollout.completions.len();
    let rows: Vec<Pair<'_>> =
        rows.map(both).filter(|[chosen, rejected]| chosen.1 != rejected.1).flatten().collect();
    let taught = of_pairs(players, &rows)?;
    Ok(Played { rewarded, taught })
}

/// Each completion meets one of a mixture of the policy and its start.
fn nash<'a>(players: &Players<'_>, items: Vec<Asked<'a>>, mixture: f64) -> Result<Played<'a>> {
    let (recipe, models) = (players.at.recipe, players.at.models);
    let own = drawn(players, players.policy, items)?;
    let prompts = &own.rollout.prompts;
    let stop = players.policy.stop_tokens();
    let generation = Generation {
        sampling: &recipe.sampling,
        stop: &stop,
        coins: Coins::new(recipe.seed, players.step as u64),
        first_index: prompts.len(),
    };
    let mixture = Mixture { policy: models.policy, reference: models.reference, share: mixture };
    let others = models.workers.generate_mixed(&mixture, prompts, &generation)?;
    let groups = (own.items.clone(), recipe.batch.num_generations);
    let others = earned(players.setting, players.policy, groups, others);
    let rows: Vec<Pair<'_>> = (0..prompts.len()).map(|row| completion(&own, row)).collect();
    let totals = own.totals.iter().zip(&others.totals);
    let verdicts = recipe.self_play.verdicts;
    let wins = totals.map(|(one, other)| verdicts.wins(f64::from(*one), f64::from(*other)));
    let sides = models.sides(&rows)?.into_iter().zip(wins);
    let contests: Vec<Contest> = sides.map(|(side, wins)| Contest { side, wins }).collect();
    let mean = |of: fn(&Contest) -> f64| {
        contests.iter().map(of).sum::<f64>() / contests.len().max(1) as f64
    };
    let linearized = nash_md(&contests, recipe.feedback.preference.beta);
    let taught = Taught {
        learned: (!rows.is_empty()).then(|| players.at.follow(&rows, &linearized.slopes)),
        headline: ("loss", linearized.loss),
        figures: vec![("wins", mean(|contest| contest.wins))],
        others: vec![("kl", mean(|contest| contest.side.policy - contest.side.reference))],
        tokens: tokens(&rows),
        advice: None,
    };
    Ok(Played { rewarded: own, taught })
}

/// What the recipe's preference loss learns from chosen, rejected, chosen, ...
fn of_pairs(players: &Players<'_>, rows: &[Pair<'_>]) -> Result<Taught> {
    let sides = players.at.models.sides(rows)?;
    let pairs = sides.chunks(2).map(|two| Scored { chosen: two[0], rejected: two[1], weight: 1.0 });
    let scored: Vec<Scored> = pairs.collect();
    let preference = &players.at.recipe.feedback.preference;
    Ok(teach(preference, players.at, rows, &scored))
}

/// A prompt with its completion.
fn completion<'a>(rewarded: &'a Rewarded<'_>, row: usize) -> Pair<'a> {
    (&rewarded.rollout.prompts[row], &rewarded.rollout.completions[row])
}

/// Leaves out what has no reference that fits behind its prompt.
///
/// # Errors
/// A usage error if nothing is left.
pub(super) fn keep_with_references(
    items: &mut Vec<(Item, Vec<u32>)>,
    policy: &Policy,
) -> Result<()> {
    let context = policy.config().context_length;
    items.retain(|(item, prompt)| {
        let reference = item.references.first();
        let reference = reference.map(|text| policy.encode_completion(text));
        reference.is_some_and(|ids| !ids.is_empty() && prompt.len() + ids.len() <= context)
    });
    if items.is_empty() {
        return Err(usage(
            "self_play.method spin takes references for better than samples, and no item has one that fits: give \
             another --task or --dataset",
        ));
    }
    Ok(())
}
