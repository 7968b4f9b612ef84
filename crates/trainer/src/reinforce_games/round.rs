//! From the games of a round to experience: what the policy, the first policy and a critic say of what was drawn, and
//! what every token was worth.

use std::collections::BTreeMap;

use anyhow::Result;
use kudos_core::model::{Critic, Transformer};
use kudos_core::objective::{Credit, Lived, explained_variance, whiten};
use kudos_core::rollout::{Trajectory, trajectories};

use crate::parallel::Workers;
use crate::side_by_side::Sitting;

/// Sequences scored together.
const TOGETHER: usize = 128;

/// Who is asked of the games of a round, all without autodiff.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judges<'a> {
    /// Who played.
    pub(super) policy: &'a Transformer,
    /// What the policy is kept near to; none where that costs nothing.
    pub(super) first: Option<&'a Transformer>,
    pub(super) critic: &'a Critic,
}

/// How rewards become what is learned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharing {
    pub(super) credit: Credit,
    pub(super) reward_scale: f64,
}

/// The games of a round, ready to be learned from.
#[derive(Debug)]
pub(super) struct Round {
    /// Trajectories of all games, with whitened advantages.
    pub(super) lived: Vec<Lived>,
    /// Share of the spread of returns that the critic foresaw.
    pub(super) explained_variance: f64,
    /// Mean divergence of a chosen token from the first policy (k1), in nats; 0 where that is not asked.
    pub(super) kl_nats: f64,
    /// Chosen tokens.
    pub(super) tokens: usize,
}

/// What was read and what followed it.
type Pair<'a> = (&'a [u32], &'a [u32]);

/// Different pairs, each said once.
#[derive(Debug, Default)]
struct Pairs<'a> {
    all: Vec<Pair<'a>>,
    places: BTreeMap<Pair<'a>, usize>,
}

impl Round {
    /// Asks the judges and shares out what was earned.
    ///
    /// # Errors
    /// A failing device.
    pub(super) fn of(sittings: &[Sitting], judges: &Judges<'_>, sharing: Sharing) -> Result<Self> {
        let mut games: Vec<Vec<Trajectory>> = sittings
            .iter()
            .map(|game| trajectories(&game.transcript, sharing.credit.gamma))
            .collect();
        let rewards = games.iter_mut().flatten().flat_map(|one| &mut one.rewards);
        rewards.for_each(|reward| *reward *= sharing.reward_scale as f32);
        let games = judges.say(games)?;
        let mut lived = Vec::new();
        for mut game in games {
            sharing.credit.share_out(&mut game);
            lived.extend(game);
        }
        let mut round = Self {
            explained_variance: explained(&lived),
            kl_nats: divergence(&lived),
            tokens: lived.iter().map(|one| one.trajectory.count()).sum(),
            lived,
        };
        whiten(&mut round.lived);
        Ok(round)
    }
}

impl Judges<'_> {
    /// What is said of each trajectory. What was read and chosen alike is asked once.
    fn say(&self, games: Vec<Vec<Trajectory>>) -> Result<Vec<Vec<Lived>>> {
        let (mut own, mut after) = (Pairs::default(), Pairs::default());
        for one in games.iter().flatten() {
            own.place(pair(one));
            if !one.after.is_empty() {
                after.place((&one.after, &[0]));
            }
        }
        let workers = Workers::of(&self.policy.device());
        let old = workers.log_probs(self.policy, &own.all, 1.0, TOGETHER)?;
        let reference = match self.first {
            Some(first) => workers.log_probs(first, &own.all, 1.0, TOGETHER)?,
            None => old.clone(),
        };
        let values = workers.expectations(self.critic, &own.all, TOGETHER)?;
        let afters = match after.all.is_empty() {
            true => Vec::new(),
            false => workers.expectations(self.critic, &after.all, TOGETHER)?,
        };
        let lived = |one: &Trajectory| {
            let place = own.places[&pair(one)];
            let after = after.places.get(&(one.after.as_slice(), &[0][..]));
            let mut trajectory = one.clone();
            trajectory.experience.old.clone_from(&old[place]);
            trajectory.experience.reference.clone_from(&reference[place]);
            Lived {
                returns: vec![0.0; one.rewards.len()],
                values: values[place].clone(),
                after: after.map_or(0.0, |place| afters[*place][0]),
                trajectory,
            }
        };
        Ok(games.iter().map(|game| game.iter().map(lived).collect()).collect())
    }
}

fn pair(one: &Trajectory) -> Pair<'_> {
    (&one.experience.prompt, &one.experience.completion)
}

impl<'a> Pairs<'a> {
    fn place(&mut self, pair: Pair<'a>) {
        self.places.entry(pair).or_insert_with(|| {
            self.all.push(pair);
            self.all.len() - 1
        });
    }
}

/// Numbers of the chosen tokens.
fn chosen<'a>(lived: &'a [Lived], part: fn(&Lived) -> &Vec<f32>) -> impl Iterator<Item = f32> + 'a {
    lived.iter().flat_map(move |one| {
        one.trajectory
            .chosen()
            .zip(part(one))
            .filter(|(chosen, _)| *chosen)
            .map(|(_, value)| *value)
    })
}

fn explained(lived: &[Lived]) -> f64 {
    let values: Vec<f32> = chosen(lived, |one| &one.values).collect();
    explained_variance(&values, &chosen(lived, |one| &one.returns).collect::<Vec<_>>())
}

fn divergence(lived: &[Lived]) -> f64 {
    let own = chosen(lived, |one| &one.trajectory.experience.old);
    let first = chosen(lived, |one| &one.trajectory.experience.reference);
    let apart: Vec<f64> = own.zip(first).map(|(p, r)| f64::from(p) - f64::from(r)).collect();
    apart.iter().sum::<f64>() / apart.len().max(1) as f64
}
