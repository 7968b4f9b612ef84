//! Laws of imitating the policy's own best completions.

use kudos_core::objective::Kept;

use super::*;

/// What earned more, for each completion of [`rollout`].
fn rewards(count: usize) -> Vec<f32> {
    let mut coins = ChaCha8Rng::seed_from_u64(8);
    (0..count).map(|_| (coins.next_u32() % 1000) as f32 / 500.0).collect()
}

#[test]
fn imitating_the_best_is_supervised_learning_on_them() {
    let (rollout, _) = rollout();
    let rewards = rewards(rollout.completions.len());
    // Sorted by hand: the place of each prompt's best two, and of everything above 1.2.
    let best: Vec<usize> = (0..rewards.len())
        .filter(|row| {
            let group = &rewards[row / GROUP * GROUP..][..GROUP];
            group.iter().filter(|reward| **reward > rewards[*row]).count() < 2
        })
        .collect();
    let above: Vec<usize> = (0..rewards.len()).filter(|row| rewards[*row] >= 1.2).collect();
    assert_eq!(best.len(), rewards.len() / 2);
    assert!(!above.is_empty() && above.len() < rewards.len() && above != best);
    for (kept, places) in [(Kept::Best(2), best), (Kept::AtLeast(1.2), above)] {
        for aggregation in [Aggregation::TokenMean, Aggregation::SequenceMean] {
            let choices = PolicyGradient { kept, aggregation, ..PolicyGradient::raft() };
            let mut state = choices.initial_state();
            let collected = Collected::new(&rollout, &rewards, GROUP);
            let prepared = choices.prepare(&collected, &mut state);
            let pairs: Vec<(Vec<u32>, Vec<u32>)> = places
                .iter()
                .map(|row| (rollout.prompts[*row].clone(), rollout.completions[*row].clone()))
                .collect();
            let supervised = Supervised { aggregation };
            let imitated = supervised.experiences(&pairs);
            for config in configs() {
                let model = model(&config, &Device::flex().autodiff());
                let now = Coefficients { beta: 0.0, entropy_bonus: 0.0 };
                let ours = learn(&model, &prepared.experiences, &choices.at(now), 64);
                let theirs = learn(&model, &imitated, &supervised, 64);
                let (loss, expected) = (number(ours.loss), number(theirs.loss));
                assert!((loss - expected).abs() < 1e-5 * expected, "{kept:?}: {loss} {expected}");
                let expected = flat(&theirs.gradients);
                let off = worst(&flat(&ours.gradients), &expected);
                assert!(off < 1e-5 * norm(&expected) as f32, "{kept:?}: {off}");
            }
        }
    }
}
