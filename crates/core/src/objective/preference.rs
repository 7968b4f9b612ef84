//! Preference losses: raise the chosen completion over the rejected one, as far as the reference allows.
//!
//! Measures: how well the policy's log-ratios to the reference explain which completion people chose.
//! Formula: with `d = (log p(c) - log r(c)) - (log p(x) - log r(x))` for chosen c, rejected x, reference r:
//! sigmoid `-(1 - e) log s(b d) - e log s(-b d)` (cDPO with e above 0), robust
//! `(-(1 - e) log s(b d) + e log s(-b d)) / (1 - 2 e)`, hinge `max(0, 1 - b d)`, IPO `(d - 1 / (2 b))^2` and
//! sigmoid_norm `-log s(b d)` with d of log-probabilities that are means over tokens; APO-zero
//! `1 - s(b (log p(c) - log r(c))) + s(b (log p(x) - log r(x)))`, each side by itself. Without a reference:
//! SimPO is the sigmoid of `b m - margin`, ORPO `-b log s(m + log(1 - e^x') - log(1 - e^c'))` plus the
//! likelihood below at weight 1, `m = c' - x'` being of means over tokens, too.
//! Mean over pairs, weighted. Added to it, for any loss:
//! `rpo_alpha` times the negative log-likelihood of the chosen, `-sum_i w_i log p(c_i) / sum_i w_i |c_i|`: a
//! mean over the tokens of all chosen of the batch, not over sequences, as TRL's `rpo_alpha` and its loss
//! `sft` have it, but over the whole batch where TRL takes each micro-batch's own.
//! Misleads when: the loss falls because both log-probabilities fall, the rejected one faster: watch
//! `logps/chosen`, and set `rpo_alpha`, or take APO-zero, which asks for likelier chosen by themselves.
//! Reference: Rafailov et al. 2023 (DPO); Mitchell 2023 (label smoothing); Chowdhury et al. 2024 (robust);
//! Meng et al. 2024 (SimPO); Hong et al. 2024 (ORPO); Lambert et al. 2024 (length-normalized); Azar et al. 2024 (IPO; the mean
//! over tokens is TRL's); Zhao et al. 2023 (SLiC, hinge); D'Oosterlinck et al. 2024 (APO-zero); Pang et al. 2024 (the likelihood of the chosen,
//! there over each sequence's length).

use serde::{Deserialize, Serialize};

use super::linear::{Linearized, log_sigmoid, sigmoid};

/// DPO and its relatives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preference {
    /// The form of the loss.
    pub loss: PreferenceLoss,
    /// How dear it is to leave the reference.
    pub beta: f64,
    /// Share of the pairs that are taken to be the wrong way round; sigmoid, robust and SimPO.
    pub label_smoothing: f64,
    /// Weight of the negative log-likelihood of the chosen, in nats a token: keeps them likely. 0 without it.
    pub rpo_alpha: f64,
}

/// The form of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    /// DPO.
    Sigmoid,
    /// SLiC.
    Hinge,
    /// IPO.
    Ipo,
    /// DPO that is unbiased where a known share of the pairs is the wrong way round.
    Robust,
    /// DPO of means over tokens.
    SigmoidNorm,
    /// APO-zero: the chosen up and the rejected down, each against the reference by itself.
    ApoZero,
    /// SimPO: means over tokens, no reference, a margin that the chosen must be ahead by.
    #[serde(rename = "simpo")]
    SimPo {
        /// TRL's `simpo_gamma`.
        margin: f64,
    },
    /// ORPO: odds of means over tokens, no reference, together with the likelihood of the chosen.
    Orpo,
}

/// A completion as a pair sees it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Side {
    /// Sum of the tokens' log-probabilities under the policy, in nats.
    pub policy: f64,
    /// Sum of the tokens' log-probabilities under the reference, in nats.
    pub reference: f64,
    /// Number of tokens.
    pub tokens: usize,
}

/// Two completions of one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pair {
    /// The better one.
    pub chosen: Side,
    /// The worse one.
    pub rejected: Side,
    /// How much the pair counts, 1 being usual.
    pub weight: f64,
}

/// What pairs show of a policy. Means over pairs, weighted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PreferenceReport {
    /// `b (log p - log r)` of the chosen.
    pub rewards_chosen: f64,
    /// The same of the rejected.
    pub rewards_rejected: f64,
    /// Share of pairs whose chosen has the larger one.
    pub accuracy: f64,
    /// Log-probability of the chosen under the policy, in nats.
    pub logps_chosen: f64,
    /// The same of the rejected.
    pub logps_rejected: f64,
    /// By how much the chosen are more likely than under the reference, in nats.
    pub gain_chosen: f64,
    /// Negative log-likelihood of the chosen in nats a token, over all of their tokens.
    pub nll_chosen: f64,
}

impl Default for Preference {
    fn default() -> Self {
        Self { loss: PreferenceLoss::Sigmoid, beta: 0.1, label_smoothing: 0.0, rpo_alpha: 0.0 }
    }
}

impl Side {
    fn ratio(&self) -> f64 {
        self.policy - self.reference
    }
}

impl Preference {
    /// The loss of a batch, with its slopes: chosen, rejected, chosen, ... in the order of the pairs.
    pub fn linearize(&self, pairs: &[Pair]) -> Linearized {
        let total: f64 = pairs.iter().map(|pair| pair.weight).sum();
        let tokens = chosen_tokens(pairs);
        let mut linearized = Linearized::default();
        for pair in pairs {
            let share = if total > 0.0 { pair.weight / total } else { 0.0 };
            let (loss, [chosen, rejected]) = self.one(pair);
            let likelihood = self.likelihood() * pair.weight;
            let a_token = if tokens > 0.0 { likelihood / tokens } else { 0.0 };
            linearized.loss += share * loss - a_token * pair.chosen.policy;
            linearized.slopes.extend([share * chosen - a_token, share * rejected]);
        }
        linearized
    }

    /// Weight of the likelihood of the chosen.
    fn likelihood(&self) -> f64 {
        match self.loss {
            PreferenceLoss::Orpo => 1.0 + self.rpo_alpha,
            PreferenceLoss::Sigmoid
            | PreferenceLoss::Hinge
            | PreferenceLoss::Ipo
            | PreferenceLoss::Robust
            | PreferenceLoss::SigmoidNorm
            | PreferenceLoss::ApoZero
            | PreferenceLoss::SimPo { .. } => self.rpo_alpha,
        }
    }

    /// Loss and slopes of one pair.
    fn one(&self, pair: &Pair) -> (f64, [f64; 2]) {
        let Self { beta, label_smoothing: smoothing, .. } = *self;
        let margin = beta * (pair.chosen.ratio() - pair.rejected.ratio());
        let [chosen, rejected] = [pair.chosen, pair.rejected].map(|side| side.tokens.max(1) as f64);
        let difference = pair.chosen.ratio() / chosen - pair.rejected.ratio() / rejected;
        let of_sums = |(loss, slope): (f64, f64)| (loss, [beta * slope, -beta * slope]);
        let of_means =
            |(loss, slope): (f64, f64)| (loss, [beta * slope / chosen, -beta * slope / rejected]);
        match self.loss {
            PreferenceLoss::Sigmoid => of_sums(logistic(margin, smoothing)),
            PreferenceLoss::Robust => of_sums(robust(margin, smoothing)),
            PreferenceLoss::Hinge => {
                let slope = if margin < 1.0 { -1.0 } else { 0.0 };
                of_sums(((1.0 - margin).max(0.0), slope))
            }
            PreferenceLoss::Ipo => {
                let error = difference - 1.0 / (2.0 * beta);
                (error * error, [2.0 * error / chosen, -2.0 * error / rejected])
            }
            PreferenceLoss::SigmoidNorm => of_means(logistic(beta * difference, 0.0)),
            PreferenceLoss::ApoZero => {
                let [up, down] = [pair.chosen, pair.rejected].map(|side| beta * side.ratio());
                let slope = |reward: f64| beta * sigmoid(reward) * sigmoid(-reward);
                (sigmoid(-up) + sigmoid(down), [-slope(up), slope(down)])
            }
            PreferenceLoss::SimPo { margin } => {
                let ahead = pair.chosen.policy / chosen - pair.rejected.policy / rejected;
                of_means(logistic(beta * ahead - margin, smoothing))
            }
            PreferenceLoss::Orpo => {
                let means = [pair.chosen.policy / chosen, pair.rejected.policy / rejected];
                // 1 - p of a token, as a mean; above 0 so that a certain completion has finite odds.
                let rests = means.map(|mean| (-mean.exp_m1()).max(1e-12));
                let odds = means[0] - means[1] + rests[1].ln() - rests[0].ln();
                let slope = -beta * sigmoid(-odds);
                let slopes = [slope / (rests[0] * chosen), -slope / (rests[1] * rejected)];
                (-beta * log_sigmoid(odds), slopes)
            }
        }
    }

    /// What the pairs show.
    pub fn report(&self, pairs: &[Pair]) -> PreferenceReport {
        let total: f64 = pairs.iter().map(|pair| pair.weight).sum();
        let mean = |of: &dyn Fn(&Pair) -> f64| {
            pairs.iter().map(|pair| pair.weight * of(pair)).sum::<f64>()
                / total.max(f64::MIN_POSITIVE)
        };
        let tokens = chosen_tokens(pairs) / total.max(f64::MIN_POSITIVE);
        let logps_chosen = mean(&|pair| pair.chosen.policy);
        PreferenceReport {
            rewards_chosen: mean(&|pair| self.beta * pair.chosen.ratio()),
            rewards_rejected: mean(&|pair| self.beta * pair.rejected.ratio()),
            accuracy: mean(&|pair| {
                f64::from(u8::from(pair.chosen.ratio() > pair.rejected.ratio()))
            }),
            logps_chosen,
            logps_rejected: mean(&|pair| pair.rejected.policy),
            gain_chosen: mean(&|pair| pair.chosen.ratio()),
            nll_chosen: -logps_chosen / tokens.max(f64::MIN_POSITIVE),
        }
    }
}

/// The negative logarithm of a sigmoid whose label is wrong with a probability, and its slope.
fn logistic(margin: f64, wrong: f64) -> (f64, f64) {
    let loss = -(1.0 - wrong) * log_sigmoid(margin) - wrong * log_sigmoid(-margin);
    (loss, wrong * sigmoid(margin) - (1.0 - wrong) * sigmoid(-margin))
}

/// The same, so that its mean over wrong and right labels is that of right ones.
fn robust(margin: f64, wrong: f64) -> (f64, f64) {
    let scale = 1.0 - 2.0 * wrong;
    let loss = -(1.0 - wrong) * log_sigmoid(margin) + wrong * log_sigmoid(-margin);
    let slope = -(1.0 - wrong) * sigmoid(-margin) - wrong * sigmoid(margin);
    (loss / scale, slope / scale)
}

/// Tokens of the chosen, each pair's as often as the pair counts.
fn chosen_tokens(pairs: &[Pair]) -> f64 {
    pairs.iter().map(|pair| pair.weight * pair.chosen.tokens as f64).sum()
}
