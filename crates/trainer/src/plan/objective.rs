//! What a policy gradient must keep to.

use anyhow::Result;
use kudos_core::objective::{
    Aggregation, Baseline, Clip, Correction, Deviation, Dual, FlatGroups, Guard, Kept,
    PolicyGradient, RatioBound, Scale, Surrogate, Truncated,
};

use crate::recipe::BatchRecipe;
use crate::usage::usage;

pub(super) fn validate(objective: &PolicyGradient, batch: &BatchRecipe) -> Result<()> {
    let rules = [
        (
            objective.aggregation != Aggregation::Constant(0),
            "objective.aggregation constant is 0: give a positive length",
        ),
        (ratio_is_bounded(objective.surrogate), CLIP),
        (
            scale_is_positive(objective.scale),
            "objective.scale needs a guard above 0, or completions that earn the same divide by zero",
        ),
        (
            correction_is_bounded(objective.correction),
            "objective.correction bound must be at least 1",
        ),
        (
            match objective.truncated {
                Truncated::Learn | Truncated::Mask => true,
                Truncated::Shape { longest, buffer } => buffer <= longest,
            },
            "objective.truncated shape: buffer is longer than longest",
        ),
        (
            objective.flat_groups == FlatGroups::Keep || batch.num_generations > 1,
            "objective.flat_groups: a single completion is always without signal: keep it, or raise \
             batch.num_generations",
        ),
        (
            batch.num_generations > 1 || !scales_by_group(objective.scale),
            "objective.scale group: the deviation of a single completion is 0: batch.num_generations must be \
             at least 2",
        ),
        (
            batch.num_iterations * batch.mini_batches == 1
                || objective.surrogate != Surrogate::ScoreFunction
                || objective.kept.imitates(),
            "objective.surrogate is score_function, which is for completions of the policy as it is: \
             batch.num_iterations and batch.mini_batches must be 1, or take clip",
        ),
    ];
    match rules.into_iter().chain(of_kept(objective, batch)).find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, remedy)) => Err(usage(remedy)),
    }
}

/// What is imitated has an advantage of 1, which nothing is taken off.
fn of_kept(objective: &PolicyGradient, batch: &BatchRecipe) -> [(bool, &'static str); 2] {
    let kept = match objective.kept {
        Kept::All | Kept::AtLeast(_) => true,
        Kept::Best(count) => (1..=batch.num_generations).contains(&count),
    };
    let plain = objective.baseline == Baseline::None && objective.scale == Scale::None;
    [
        (
            kept,
            "objective.kept best: keep at least 1 and at most batch.num_generations completions",
        ),
        (
            plain || !objective.kept.imitates(),
            "objective.kept imitates, whatever a completion earned: set objective.baseline and objective.scale to \
             none, or take kept all",
        ),
    ]
}

const CLIP: &str =
    "objective.surrogate clip: low is from 0 to 1, high 0 or more, dual and a ceiling above 1";

fn ratio_is_bounded(surrogate: Surrogate) -> bool {
    match surrogate {
        Surrogate::ScoreFunction | Surrogate::Ratio { .. } => true,
        Surrogate::DetachedRatio { floor, ceiling } => (0.0..1.0).contains(&floor) && ceiling > 1.0,
        Surrogate::Clip(Clip { low, high, dual, .. }) => {
            let dual = match dual {
                Dual::Off => true,
                Dual::At(most) => most > 1.0,
            };
            (0.0..=1.0).contains(&low) && high >= 0.0 && dual
        }
    }
}

fn scale_is_positive(scale: Scale) -> bool {
    match scale {
        Scale::None => true,
        Scale::Group(Deviation { guard, .. })
        | Scale::Batch(Deviation { guard, .. })
        | Scale::Whiten(Deviation { guard, .. }) => match guard {
            Guard::Deviation(least) | Guard::Variance(least) | Guard::Floor(least) => least > 0.0,
        },
    }
}

fn scales_by_group(scale: Scale) -> bool {
    match scale {
        Scale::Group(_) => true,
        Scale::None | Scale::Batch(_) | Scale::Whiten(_) => false,
    }
}

fn correction_is_bounded(correction: Correction) -> bool {
    match correction {
        Correction::None => true,
        Correction::Importance { bound, .. } => match bound {
            RatioBound::None => true,
            RatioBound::Truncate(most) | RatioBound::Mask(most) => most >= 1.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use kudos_core::objective::{Algorithm, Dual};

    use super::*;

    fn check(objective: &PolicyGradient, batch: &BatchRecipe, expected: &str) {
        let error = validate(objective, batch).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(crate::usage::exit_code(&error), 2);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        let batch = BatchRecipe::default();
        let twice = BatchRecipe { num_iterations: 2, ..batch };
        let alone = BatchRecipe { num_generations: 1, ..batch };
        check(&PolicyGradient::a2c(), &twice, "num_iterations");
        check(&PolicyGradient::rloo(), &twice, "num_iterations");
        check(&PolicyGradient::dapo(), &alone, "keep it");
        check(&PolicyGradient::grpo(), &alone, "at least 2");
        check(&PolicyGradient::dr_grpo(), &batch, "constant is 0");
        let clip = Clip { dual: Dual::At(0.5), ..Clip::default() };
        let choices = PolicyGradient { surrogate: Surrogate::Clip(clip), ..PolicyGradient::grpo() };
        check(&choices, &batch, "dual");
    }

    #[test]
    fn every_algorithm_is_valid_once_it_knows_the_sampling() {
        let batch = BatchRecipe::default();
        for algorithm in [
            Algorithm::Reinforce,
            Algorithm::Rloo,
            Algorithm::Grpo,
            Algorithm::DrGrpo,
            Algorithm::Dapo,
            Algorithm::ReinforcePlusPlus,
            Algorithm::ReinforcePlusPlusBaseline,
            Algorithm::Remax,
            Algorithm::Gspo,
            Algorithm::Cispo,
            Algorithm::Ppo,
            Algorithm::A2c,
            Algorithm::Raft,
        ] {
            let choices = algorithm.ours().drawn_by(&kudos_schema::Sampling::default());
            validate(&choices, &batch).unwrap();
        }
    }
}
