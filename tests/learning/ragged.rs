//! Prompts that completions share are read once, and nothing is padded: the numbers stay those of each completion alone.

use super::*;

/// Groups of completions behind the same prompts, of 1, 2, 9 and 20 tokens; the last group's come first, and one is empty of
/// all but its end.
fn shared() -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
    let mut coins = ChaCha8Rng::seed_from_u64(8);
    let prompts: Vec<Vec<u32>> =
        [20, 1, 2, 9].into_iter().map(|length| tokens(&mut coins, length)).collect();
    let rows = (0..4 * GROUP).map(|row| (row * 3) % 4);
    rows.enumerate()
        .map(|(row, of)| (prompts[of].clone(), tokens(&mut coins, 1 + (row * 5) % 12)))
        .unzip()
}

#[test]
fn completions_of_shared_prompts_are_scored_as_each_alone() {
    let (prompts, completions) = shared();
    let pairs: Vec<(&[u32], &[u32])> =
        prompts.iter().zip(&completions).map(|(one, other)| (&one[..], &other[..])).collect();
    for config in configs() {
        let model = model(&config, &Device::flex().autodiff()).valid();
        let at = |size| block_on(log_probs(&model, &pairs, 1.0, size)).unwrap();
        let alone = at(1);
        for (together, one) in at(64).iter().flatten().zip(alone.iter().flatten()) {
            assert!((together - one).abs() < 2e-5, "{together} and {one}");
        }
        assert!(alone.iter().flatten().any(|one| *one < -5.0), "far from uniform");
    }
}

#[test]
fn gradients_through_shared_prompts_are_sums_of_those_of_each_completion() {
    let (prompts, completions) = shared();
    let now = Coefficients { beta: 0.0, entropy_bonus: 0.01 };
    for config in configs() {
        let model = model(&config, &Device::flex().autodiff());
        let choices = PolicyGradient::grpo();
        let mut all = experiences(&choices);
        for (one, (prompt, completion)) in all.iter_mut().zip(prompts.iter().zip(&completions)) {
            // Completions are as long as those that were drawn.
            assert_eq!(one.completion.len(), completion.len());
            one.prompt.clone_from(prompt);
        }
        let gradient = |size| flat(&learn(&model, &all, &choices.at(now), size).gradients);
        let whole = gradient(64);
        assert!(norm(&whole) > 0.0);
        for size in [1, 5] {
            assert!(worst(&gradient(size), &whole) < 1e-5 * norm(&whole) as f32, "{size}");
        }
    }
}
