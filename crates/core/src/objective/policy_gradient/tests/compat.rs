//! What each library's preset is, choice by choice, as `docs/objectives.md` states it.

use super::*;

/// Baseline, scale, surrogate and aggregation of an algorithm; the place and the price of a divergence, where it is paid.
type Row =
    (Algorithm, Baseline, Scale, Surrogate, Aggregation, Option<(KlPlacement, KlCoefficient)>);

/// Every algorithm that is not in the table is refused.
fn check(compat: Compat, rows: &[Row]) {
    for algorithm in ALGORITHMS {
        let found = algorithm.of(compat).ok().map(|found| {
            let kl = (found.kl_placement, found.kl_coefficient);
            let kl = found.needs_reference().then_some(kl);
            (algorithm, found.baseline, found.scale, found.surrogate, found.aggregation, kl)
        });
        let row = rows.iter().find(|row| row.0 == algorithm).copied();
        assert_eq!(found, row, "{compat:?} {algorithm:?}");
    }
}

fn group(epsilon: f64) -> Scale {
    Scale::Group(Deviation { ddof: Ddof::Sample, guard: Guard::Deviation(epsilon) })
}

fn clip(level: RatioLevel, [low, high]: [f64; 2], dual: Dual) -> Surrogate {
    Surrogate::Clip(Clip { level, low, high, dual })
}

/// The paper's clip of GSPO, which every library leaves to the user.
fn narrow() -> Surrogate {
    clip(RatioLevel::SequenceMean, [3e-4, 4e-4], Dual::Off)
}

const GAE: Baseline = Baseline::Value { gamma: 1.0, lam: 1.0 };

#[test]
fn trls_presets_are_those_of_the_documented_table() {
    use Aggregation::{Constant, SequenceMean, TokenMean};
    use Baseline::{GroupMean, LeaveOneOut};
    let usual = clip(RatioLevel::Token, [0.2, 0.2], Dual::Off);
    let whole = clip(RatioLevel::Sequence, [0.2, 0.2], Dual::Off);
    let higher = clip(RatioLevel::Token, [0.2, 0.28], Dual::Off);
    let weights = Surrogate::DetachedRatio { floor: 0.0, ceiling: 5.0 };
    let in_reward = Some((KlPlacement::RewardK1, KlCoefficient::Fixed(0.05)));
    check(
        Compat::Trl,
        &[
            (Algorithm::Rloo, LeaveOneOut, Scale::None, whole, SequenceMean, in_reward),
            (Algorithm::Grpo, GroupMean, group(1e-4), usual, TokenMean, None),
            (Algorithm::DrGrpo, GroupMean, Scale::None, usual, Constant(0), None),
            (Algorithm::Dapo, GroupMean, group(1e-4), higher, TokenMean, None),
            (Algorithm::Gspo, GroupMean, group(1e-4), narrow(), SequenceMean, None),
            (Algorithm::Cispo, GroupMean, group(1e-4), weights, TokenMean, None),
        ],
    );
    let dapo = Algorithm::Dapo.of(Compat::Trl).unwrap();
    assert_eq!((dapo.truncated, dapo.flat_groups), (Truncated::Learn, FlatGroups::Keep));
}

#[test]
fn verls_presets_are_those_of_the_documented_table() {
    use Aggregation::{Constant, SequenceMean, TokenMean};
    use Algorithm::{ReinforcePlusPlus, ReinforcePlusPlusBaseline};
    use Baseline::{Greedy, GroupMean, LeaveOneOut};
    let whiten = Scale::Whiten(Deviation { ddof: Ddof::Sample, guard: Guard::Variance(1e-8) });
    let usual = clip(RatioLevel::Token, [0.2, 0.2], Dual::At(3.0));
    let higher = clip(RatioLevel::Token, [0.2, 0.28], Dual::At(3.0));
    let weights = Surrogate::DetachedRatio { floor: 0.8, ceiling: 1.2 };
    check(
        Compat::Verl,
        &[
            (Algorithm::Rloo, LeaveOneOut, Scale::None, usual, TokenMean, None),
            (Algorithm::Remax, Greedy, Scale::None, usual, TokenMean, None),
            (Algorithm::Grpo, GroupMean, group(1e-6), usual, TokenMean, None),
            (Algorithm::DrGrpo, GroupMean, Scale::None, usual, Constant(0), None),
            (Algorithm::Dapo, GroupMean, group(1e-6), higher, TokenMean, None),
            (ReinforcePlusPlus, Baseline::None, whiten, usual, TokenMean, None),
            (ReinforcePlusPlusBaseline, GroupMean, whiten, usual, TokenMean, None),
            (Algorithm::Gspo, GroupMean, group(1e-6), narrow(), SequenceMean, None),
            (Algorithm::Cispo, GroupMean, group(1e-6), weights, TokenMean, None),
            (Algorithm::Ppo, GAE, whiten, usual, TokenMean, None),
        ],
    );
}

#[test]
fn openrlhfs_presets_are_those_of_the_documented_table() {
    use Aggregation::{SequenceMean, TokenMean};
    use Algorithm::{ReinforcePlusPlus, ReinforcePlusPlusBaseline};
    use Baseline::{GroupMean, LeaveOneOut};
    let whiten = Scale::Whiten(Deviation { ddof: Ddof::Population, guard: Guard::Floor(1e-8) });
    let usual = clip(RatioLevel::Token, [0.2, 0.2], Dual::Off);
    let paid = Some((KlPlacement::TokenRewardK1, KlCoefficient::Fixed(0.01)));
    check(
        Compat::OpenRlhf,
        &[
            (Algorithm::Rloo, LeaveOneOut, Scale::None, usual, TokenMean, paid),
            (Algorithm::Grpo, GroupMean, group(1e-9), usual, TokenMean, paid),
            (Algorithm::DrGrpo, GroupMean, Scale::None, usual, TokenMean, paid),
            (ReinforcePlusPlus, Baseline::None, whiten, usual, TokenMean, paid),
            (ReinforcePlusPlusBaseline, GroupMean, whiten, usual, TokenMean, paid),
            (Algorithm::Gspo, GroupMean, group(1e-9), narrow(), SequenceMean, paid),
            (Algorithm::Ppo, GAE, whiten, usual, TokenMean, paid),
        ],
    );
}
