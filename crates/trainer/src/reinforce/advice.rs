//! What the numbers of a step mean where they surprise, with a remedy; each is said once a run.
//!
//! `docs/troubleshooting.md` has a row for each.

use std::collections::BTreeSet;

/// A number that surprises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surprise {
    /// The loss is 0 although there is a gradient.
    LossIsZero,
    /// An estimated divergence is below 0.
    NegativeKl,
    /// A ratio of some token or completion is very large.
    Ratio,
    /// Nearly no completion ended.
    Truncation,
    /// Most groups say nothing.
    FlatGroups,
    /// Nothing could be learned.
    NothingLearned,
}

/// The numbers that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Seen {
    /// Loss of the step.
    pub(super) loss: f64,
    /// Norm of its gradient.
    pub(super) grad_norm: f64,
    /// Divergence from the reference, in nats a completion.
    pub(super) kl_nats: f64,
    /// Share of tokens held by the bounds of a ratio.
    pub(super) clip_ratio: f64,
    /// Share of tokens whose ratio to the policy that drew is above 100.
    pub(super) far: f64,
    /// Largest ratio of a correction.
    pub(super) ratio_max: f64,
    /// Share of completions without an end.
    pub(super) truncated: f64,
    /// Share of groups whose completions all earned the same.
    pub(super) flat: f64,
    /// Groups of the step; 0 where completions are not compared with each other.
    pub(super) groups: usize,
    /// Whether groups without signal are learned from.
    pub(super) keeps_flat: bool,
    /// Updates made.
    pub(super) updates: usize,
}

/// What was said already.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeSet<Surprise>);

impl Said {
    /// What is to be said of a step for the first time.
    pub(super) fn of(&mut self, seen: &Seen) -> Vec<String> {
        let new = surprises(seen).into_iter().filter(|(surprise, _)| self.0.insert(*surprise));
        new.map(|(_, text)| text).collect()
    }
}

fn surprises(seen: &Seen) -> Vec<(Surprise, String)> {
    let all = of_numbers(seen).into_iter().chain(of_completions(seen));
    all.filter(|(holds, ..)| *holds).map(|(_, surprise, text)| (surprise, text)).collect()
}

/// Whether it is so, and what is to be said then.
type Case = (bool, Surprise, String);

/// What loss, divergence and ratios may surprise with.
fn of_numbers(seen: &Seen) -> [Case; 3] {
    [
        (
            seen.loss.abs() < 1e-6 && seen.grad_norm > 1e-6,
            Surprise::LossIsZero,
            format!(
                "loss {:.1e} with a gradient of norm {:.3}: advantages sum to 0, so the loss starts at 0 and says \
                 nothing; watch the reward",
                seen.loss, seen.grad_norm
            ),
        ),
        (
            // Less is the rounding between drawing and scoring.
            seen.kl_nats < -0.01,
            Surprise::NegativeKl,
            format!(
                "kl {:.4} is below 0: k1, the mean of log p - log p_ref over what was drawn, is right on average \
                 only; more completions a step steady it, and kl_placement loss_k3 is paid by an estimate that is \
                 never negative",
                seen.kl_nats
            ),
        ),
        (
            seen.ratio_max > 100.0 || seen.clip_ratio > 0.5 || seen.far > 0.0,
            Surprise::Ratio,
            format!(
                "the policy is far from the one that drew ({:.1} % of tokens of a ratio above 100, {:.0} % clipped, \
                 largest correction {:.3e}): a ratio of a whole completion grows with its length, so take level \
                 sequence_mean or token, a surrogate that clips, fewer num_iterations or a lower learning_rate; a \
                 correction's bound truncate",
                100.0 * seen.far,
                100.0 * seen.clip_ratio,
                seen.ratio_max
            ),
        ),
    ]
}

/// What the completions and their groups may surprise with.
fn of_completions(seen: &Seen) -> [Case; 3] {
    [
        (
            seen.truncated > 0.9,
            Surprise::Truncation,
            format!(
                "{:.0} % of the completions were cut off before their end (completions/clipped_ratio), so rewards \
                 fall whatever is learned: raise max_completion_length, or set objective.truncated to mask or shape",
                100.0 * seen.truncated
            ),
        ),
        (
            seen.groups > 0 && seen.flat > 0.5,
            Surprise::FlatGroups,
            format!(
                "{:.0} of {} groups say nothing, since all of their completions earned the same \
                 (frac_reward_zero_std): raise num_generations or temperature, or take a finer reward{}",
                seen.flat * seen.groups as f64,
                seen.groups,
                if seen.keeps_flat { ", or set objective.flat_groups to drop or resample" } else { "" }
            ),
        ),
        (
            seen.updates == 0,
            Surprise::NothingLearned,
            "nothing was learned in this step: every completion was left out (objective.truncated mask, \
             objective.flat_groups drop or resample)"
                .to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Seen = Seen {
        loss: 0.1,
        grad_norm: 1.0,
        kl_nats: 0.01,
        clip_ratio: 0.1,
        far: 0.0,
        ratio_max: 2.0,
        truncated: 0.1,
        flat: 0.2,
        groups: 10,
        keeps_flat: true,
        updates: 1,
    };

    #[test]
    fn a_usual_step_surprises_nobody() {
        assert_eq!(Said::default().of(&USUAL), Vec::<String>::new());
        let single = Seen { flat: 1.0, groups: 0, ..USUAL };
        assert_eq!(Said::default().of(&single), Vec::<String>::new());
    }

    #[test]
    fn every_surprise_is_said_once_with_what_to_do() {
        let cases = [
            (Seen { loss: 0.0, ..USUAL }, "watch the reward"),
            (Seen { kl_nats: -0.1, ..USUAL }, "loss_k3"),
            (Seen { ratio_max: 1e4, ..USUAL }, "sequence_mean"),
            (Seen { clip_ratio: 0.7, ..USUAL }, "num_iterations"),
            (Seen { far: 0.01, ..USUAL }, "1.0 % of tokens of a ratio above 100"),
            (Seen { truncated: 1.0, ..USUAL }, "max_completion_length"),
            (Seen { flat: 0.8, ..USUAL }, "flat_groups to drop"),
            (Seen { flat: 0.8, keeps_flat: false, ..USUAL }, "8 of 10 groups"),
            (Seen { updates: 0, ..USUAL }, "flat_groups"),
        ];
        for (seen, expected) in cases {
            let mut said = Said::default();
            let texts = said.of(&seen);
            assert_eq!(texts.len(), 1, "{texts:?}");
            assert!(texts[0].contains(expected), "{texts:?}");
            assert_eq!(said.of(&seen), Vec::<String>::new());
        }
    }
}
