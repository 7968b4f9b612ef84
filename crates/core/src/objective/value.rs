//! Learning what choices are worth: Monte-Carlo returns, Q-learning, conservative Q-learning, implicit Q-learning, over
//! tokens; and imitation, which is the policy that the worth is added to.
//!
//! Measures: how far estimates are from what was earned and what is thought of the next choice.
//! Formula, with weights w that sum to 1 over chosen tokens a after s, rewards r, s' what is read before the next choice:
//! `sum w [ (Q(s,a) - y)^2 / 2 + c CE(Q(s,.), a) + i CE(logits(s,.), a) ]` with
//!   mc: y = the discounted return; dqn: y = r + g max Q'(s',.); double dqn and cql: y = r + g Q'(s', argmax Q(s',.));
//!   ilql: y = r + g V'(s') for two Qs, and `w |t - [V > m]| (V - m)^2 / 2` with m = min Q'(s,a), t the expectile.
//! g discounts from one action to the next: it is 1 between the tokens of one. Q' and V' are of a copy that follows slowly; y and m
//! are not differentiated; after the end of a game s' is worth 0. CE is the cross entropy of a softmax, whose minimum in
//! Q is CQL(H)'s. c is 0 in mc, dqn and double dqn unless given. Where `support` is above 0, the best next choice is
//! looked for among tokens that the logits think at least that share as likely as the likeliest (discrete BCQ), in
//! decoding too: Q of what the data never chose is not learned, and a maximum over it is a maximum over errors. Snell et al.
//! take V itself for y; on one small trunk the estimates then chase each other (LOG.md), so that V' stands here.
//! `imitated_from` leaves the last term to choices of at least that return: filtered imitation, of choices instead of games.
//! Range: 0 and more.
//! Misleads when: the data has no good actions to stitch together; dqn without c and support overrates what it never saw.
//! Reference: Watkins 1989; Mnih et al. 2015; van Hasselt et al. 2016; Fujimoto et al. 2019 (discrete BCQ); Kumar et al. 2020
//! (CQL); Kostrikov et al. 2022 (IQL); Snell et al. 2023 (ILQL).

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::scores::{EntropyUse, Scoring, score_logits};
use crate::first_order::constant;
use crate::model::{Estimates, Places};
use crate::rollout::Trajectory;

/// What the worth of a choice is learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Nothing: the data is imitated.
    Bc,
    /// What was earned to the end.
    Mc,
    /// The best next choice, as the copy rates it.
    Dqn,
    /// The best next choice, which the copy rates.
    DoubleDqn,
    /// The same, and what the data does not choose is rated low.
    Cql,
    /// The upper expectile of what the data chose next.
    Ilql,
}

/// The loss with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueLearning {
    /// What is learned from.
    pub method: Method,
    /// Discount from one action to the next.
    pub gamma: f64,
    /// Share of the upper side in V's regression (t); only in ilql.
    pub expectile: f64,
    /// Factor of the conservative term (c).
    pub conservatism: f64,
    /// Factor of imitation (i).
    pub imitation: f64,
    /// The least return of a choice that is imitated; none = all are. What others are worth is learned all the same.
    pub imitated_from: Option<f64>,
    /// Share of the likeliest token's probability that a token must have to be looked at; 0 = all are.
    pub support: f64,
}

/// The chosen tokens of a batch, as plain data. Vectors have N entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chosen {
    /// What was read before each.
    pub read: Places,
    /// What was read where a trajectory breaks off and the game goes on: M places.
    pub after: Places,
    /// The tokens.
    pub tokens: Vec<u32>,
    /// What each earned.
    pub rewards: Vec<f32>,
    /// Discounted sum to the end.
    pub returns: Vec<f32>,
    /// Share in the loss.
    pub weights: Vec<f32>,
    /// The place read next, of the N and then the M; N + M = the game was over.
    pub next: Vec<usize>,
    /// Whether each is the last token of its action.
    pub ends: Vec<bool>,
}

/// What estimates should come to. Both without gradients.
#[derive(Debug, Clone)]
pub struct Aims {
    /// For Q of each chosen token. `[N]`
    pub q: Tensor<1>,
    /// For V of each place. `[N]`
    pub v: Tensor<1>,
}

/// A loss with its parts, before their factors.
#[derive(Debug, Clone)]
pub struct ValueLoss {
    /// What is minimized. `[1]`
    pub total: Tensor<1>,
    /// Of Q, both where there are two. `[1]`
    pub q: Tensor<1>,
    /// Of V. `[1]`
    pub v: Tensor<1>,
    /// The conservative term. `[1]`
    pub conservative: Tensor<1>,
    /// Of imitation. `[1]`
    pub imitation: Tensor<1>,
}

impl ValueLoss {
    /// The same numbers without gradients.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self {
            total: self.total.without_autodiff(),
            q: self.q.without_autodiff(),
            v: self.v.without_autodiff(),
            conservative: self.conservative.without_autodiff(),
            imitation: self.imitation.without_autodiff(),
        }
    }

    /// With that of another part of the same batch.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            q: self.q + other.q,
            v: self.v + other.v,
            conservative: self.conservative + other.conservative,
            imitation: self.imitation + other.imitation,
        }
    }
}

impl Default for ValueLearning {
    fn default() -> Self {
        Self {
            method: Method::Ilql,
            gamma: 0.99,
            expectile: 0.9,
            conservatism: 0.1,
            imitation: 1.0,
            imitated_from: None,
            support: 0.0,
        }
    }
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] =
        [Self::Bc, Self::Mc, Self::Dqn, Self::DoubleDqn, Self::Cql, Self::Ilql];

    /// As in commands and recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bc => "bc",
            Self::Mc => "mc",
            Self::Dqn => "dqn",
            Self::DoubleDqn => "double-dqn",
            Self::Cql => "cql",
            Self::Ilql => "ilql",
        }
    }

    /// Whether the next place is asked what it is worth.
    pub fn looks_ahead(self) -> bool {
        match self {
            Self::Bc | Self::Mc => false,
            Self::Dqn | Self::DoubleDqn | Self::Cql | Self::Ilql => true,
        }
    }
}

impl Chosen {
    /// The chosen tokens of trajectories, weighed as these say. What several read alike is read once.
    pub fn of(trajectories: &[Trajectory]) -> Self {
        let mut all = Self::default();
        let (mut breaks, mut rows) = (Vec::new(), BTreeMap::new());
        for one in trajectories {
            let own = &one.experience;
            let conditions = &own.completion[..own.completion.len().saturating_sub(1)];
            let row = all.read.row([own.prompt.as_slice(), conditions].concat(), &mut rows);
            let mut chosen = one.chosen().enumerate().peekable();
            while let Some((place, own_choice)) = chosen.next() {
                if !own_choice {
                    continue;
                }
                all.read.places.push((row, own.prompt.len() + place - 1));
                all.tokens.push(own.completion[place]);
                all.rewards.push(one.rewards[place]);
                all.returns.push(one.returns[place]);
                all.weights.push(own.weights[place]);
                all.next.push(all.tokens.len());
                all.ends.push(chosen.peek().is_none_or(|(_, more)| !more));
            }
            if one.count() > 0 {
                breaks.push((all.tokens.len() - 1, &one.after));
            }
        }
        let (count, mut rows) = (all.tokens.len(), BTreeMap::new());
        let mut next = Vec::new();
        for (last, read) in breaks.iter().filter(|(_, read)| !read.is_empty()) {
            next.push((*last, count + all.after.row(read.to_vec(), &mut rows)));
        }
        all.after = Places::ends(all.after.sequences);
        let over = count + all.after.places.len();
        breaks.iter().for_each(|(last, _)| all.next[*last] = over);
        next.into_iter().for_each(|(last, place)| all.next[last] = place);
        all
    }

    /// Numbers on a device. `-> [N]`
    fn numbers(values: &[f32], device: &Device) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
    }

    /// The tokens as indices into the vocabulary. `-> [N, 1]`
    fn indices(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i32> = self.tokens.iter().map(|token| *token as i32).collect();
        Tensor::from_data(TensorData::new(ids, [self.tokens.len(), 1]), device)
    }
}

/// The worth of the chosen tokens. `[N, V], [N, 1] -> [N]`
fn at(worth: &Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<1> {
    let count = worth.dims()[0];
    worth.clone().gather(1, tokens).reshape([count])
}

impl ValueLearning {
    /// What choices are made by: logits + beta worth, without what is not looked at. `-> [N, V]`
    pub fn preference(&self, estimates: &Estimates, beta: f64) -> Tensor<2> {
        let sum = estimates.logits.clone() + self.worth(estimates).mul_scalar(beta);
        self.supported(sum, &estimates.logits)
    }

    /// Minus infinity where the logits think a token too unlikely to be looked at. `[N, V], [N, V] -> [N, V]`
    fn supported(&self, worth: Tensor<2>, logits: &Tensor<2>) -> Tensor<2> {
        if self.support == 0.0 {
            return worth;
        }
        let least = logits.clone().max_dim(1).add_scalar(self.support.ln());
        worth.mask_fill(logits.clone().lower(least), f32::NEG_INFINITY)
    }

    /// The worth that is added to logits. `-> [N, V]`
    pub(crate) fn worth(&self, estimates: &Estimates) -> Tensor<2> {
        let [first, second] = &estimates.q;
        match self.method {
            Method::Ilql => first.clone().min_pair(second.clone()),
            Method::Bc | Method::Mc | Method::Dqn | Method::DoubleDqn | Method::Cql => {
                first.clone()
            }
        }
    }

    /// What is aimed at, from what the model and the copy think of all N + M places; both without gradients.
    pub fn aims(&self, model: &Estimates, copy: &Estimates, chosen: &Chosen) -> Aims {
        let device = model.v.device();
        let count = chosen.tokens.len();
        let rewards = Chosen::numbers(&chosen.rewards, &device);
        let states = model.v.dims()[0];
        let next = match self.method {
            Method::Bc | Method::Mc => {
                let q = Chosen::numbers(&chosen.returns, &device);
                return Aims { v: q.zeros_like(), q };
            }
            Method::Dqn => {
                self.supported(copy.q[0].clone(), &model.logits).max_dim(1).reshape([states])
            }
            Method::DoubleDqn | Method::Cql => {
                at(&copy.q[0], self.supported(model.q[0].clone(), &model.logits).argmax(1))
            }
            Method::Ilql => copy.v.clone(),
        };
        let over = Tensor::zeros([1], &device);
        let places: Vec<i32> = chosen.next.iter().map(|place| *place as i32).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
        let next = Tensor::cat(vec![next, over], 0).select(0, places);
        let low = self.worth(copy).narrow(0, 0, count);
        let discount = |last: &bool| if *last { self.gamma as f32 } else { 1.0 };
        let discounts: Vec<f32> = chosen.ends.iter().map(discount).collect();
        let next = next * Chosen::numbers(&discounts, &device);
        Aims { q: rewards + next, v: at(&low, chosen.indices(&device)) }
    }

    /// The loss of a micro-batch; parts add up to the loss of the batch.
    pub fn loss(&self, model: &Estimates, aims: &Aims, chosen: &Chosen) -> ValueLoss {
        let device = model.v.device();
        let tokens = chosen.indices(&device);
        let weights = Chosen::numbers(&chosen.weights, &device);
        let aim = |aim: &Tensor<1>| match model.v.is_autodiff() {
            true => constant(aim.clone(), &model.v),
            false => aim.clone(),
        };
        let squared = |q: &Tensor<2>| {
            let miss = at(q, tokens.clone()) - aim(&aims.q);
            (miss.clone() * miss * weights.clone()).sum().mul_scalar(0.5)
        };
        let surprise_of = |logits: &Tensor<2>, weights: Tensor<1>| {
            let scoring = Scoring { temperature: 1.0, entropy: EntropyUse::Skip };
            let scores = score_logits(logits.clone(), tokens.clone(), scoring);
            (scores.log_probs * weights).sum().neg()
        };
        let surprise = |logits: &Tensor<2>| surprise_of(logits, weights.clone());
        let imitated = Chosen::numbers(&self.imitated(chosen), &device);
        let imitation = surprise_of(&model.logits, imitated);
        let none = imitation.clone().mul_scalar(0.0);
        let (q, conservative) = match self.method {
            Method::Bc => (none.clone(), none.clone()),
            Method::Mc | Method::Dqn | Method::DoubleDqn | Method::Cql => {
                (squared(&model.q[0]), surprise(&model.q[0]))
            }
            Method::Ilql => {
                let [first, second] = &model.q;
                (squared(first) + squared(second), surprise(first) + surprise(second))
            }
        };
        let v = match self.method {
            Method::Ilql => self.expectile_loss(model, aim(&aims.v), weights),
            Method::Bc | Method::Mc | Method::Dqn | Method::DoubleDqn | Method::Cql => none,
        };
        let imitation_factor = if self.method == Method::Bc { 1.0 } else { self.imitation };
        let total = q.clone()
            + v.clone()
            + conservative.clone().mul_scalar(self.conservatism)
            + imitation.clone().mul_scalar(imitation_factor);
        ValueLoss { total, q, v, conservative, imitation }
    }

    /// Whether a choice of this return is imitated.
    pub fn imitates(&self, value: f32) -> bool {
        self.imitated_from.is_none_or(|least| value >= least as f32)
    }

    /// Shares in imitation.
    fn imitated(&self, chosen: &Chosen) -> Vec<f32> {
        let share =
            |(weight, value): (&f32, &f32)| if self.imitates(*value) { *weight } else { 0.0 };
        chosen.weights.iter().zip(&chosen.returns).map(share).collect()
    }

    /// `[N], [N] -> [1]`
    fn expectile_loss(&self, model: &Estimates, aim: Tensor<1>, weights: Tensor<1>) -> Tensor<1> {
        let below = model.v.clone().lower_equal(aim.clone());
        let miss = model.v.clone() - aim;
        let sides = weights.ones_like().mul_scalar(1.0 - self.expectile);
        let sides = sides.mask_fill(below, self.expectile);
        (miss.clone() * miss * sides * weights).sum().mul_scalar(0.5)
    }
}
