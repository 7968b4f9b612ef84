//! Laws of a critic and of the policy that it advises: gradients, micro-batches, and where PPO and A2C are REINFORCE.

use kudos_core::learn::{expectations, learn_critic};
use kudos_core::model::Critic;
use kudos_core::objective::{Baseline, Judgement, Prepared, Scale, ValueClip};

use super::*;

/// A critic whose expectations differ from token to token.
fn critic(config: &TransformerConfig) -> Critic {
    let device = Device::flex().autodiff();
    let mut critic = Critic::zeroed(model(config, &device));
    let head: Vec<f32> = (0..config.d_model).map(|place| (place % 7) as f32 / 7.0 - 0.4).collect();
    let head = TensorData::new(head, [config.d_model, 1]);
    let leaf = |data| Tensor::<2>::from_data(data, &device).require_grad();
    critic.head.weight = critic.head.weight.map(|_| leaf(head));
    critic
}

fn pairs(rollout: &Rollout) -> Vec<(&[u32], &[u32])> {
    let rows = rollout.prompts.iter().zip(&rollout.completions);
    rows.map(|(prompt, completion)| (&prompt[..], &completion[..])).collect()
}

/// What a step prepares when these values were expected.
fn prepared(choices: &PolicyGradient, values: &[Vec<f32>]) -> Prepared {
    let (rollout, reference) = rollout();
    let mut coins = ChaCha8Rng::seed_from_u64(6);
    let rewards: Vec<f32> =
        rollout.prompts.iter().map(|_| (coins.next_u32() % 1000) as f32 / 500.0).collect();
    let collected =
        Collected { reference: &reference, values, ..Collected::new(&rollout, &rewards, 1) };
    choices.prepare(&collected, &mut choices.initial_state())
}

/// What a critic is to learn: it moved within the clip, or far beyond it, and returns are farther still, so that no
/// small step crosses a kink of the loss.
fn judgements(critic: &Critic) -> Vec<Judgement> {
    let (rollout, _) = rollout();
    let said = block_on(expectations(&critic.valid(), &pairs(&rollout), 5)).unwrap();
    let mut coins = ChaCha8Rng::seed_from_u64(9);
    let mut off = |distances: [f32; 2]| {
        let bits = coins.next_u32();
        let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
        sign * distances[(bits >> 1 & 1) as usize]
    };
    let mut moved = |distances: [f32; 2]| -> Vec<Vec<f32>> {
        let row = |row: &Vec<f32>| row.iter().map(|value| value + off(distances)).collect();
        said.iter().map(row).collect()
    };
    let (old, returns) = (moved([0.05, 0.5]), moved([1.0, 1.5]));
    let prepared = prepared(&PolicyGradient::ppo(), &old);
    let rows = prepared.experiences.iter().zip(&old).zip(&returns);
    rows.map(|((one, old), returns)| Judgement::of(one, old, returns)).collect()
}

const CLIPS: [ValueClip; 2] = [ValueClip::Off, ValueClip::At(0.2)];

#[test]
fn the_gradient_of_a_whole_critic_is_its_finite_difference() {
    for config in configs() {
        for clip in CLIPS {
            let critic = critic(&config);
            let judgements = judgements(&critic);
            check_slopes(&format!("{clip:?}"), &critic, &|critic: &Critic| {
                let learned = learn_critic(critic, &judgements, clip, 64);
                (number(learned.loss), learned.gradients)
            });
        }
    }
}

#[test]
fn micro_batches_and_their_order_change_no_gradient_of_a_critic() {
    let critic = critic(&configs()[0]);
    let mut judgements = judgements(&critic);
    for clip in CLIPS {
        let whole = learn_critic(&critic, &judgements, clip, 64);
        let (loss, gradient) = (number(whole.loss), flat(&whole.gradients));
        for size in [1, 3, 5] {
            judgements.reverse();
            let parts = learn_critic(&critic, &judgements, clip, size);
            assert!((number(parts.loss) - loss).abs() < 1e-5 * loss, "{clip:?}");
            let off = worst(&flat(&parts.gradients), &gradient);
            assert!(off < 1e-5 * norm(&gradient) as f32, "{clip:?}: {off}");
        }
    }
}

#[test]
fn a_clip_never_lowers_the_loss_of_a_critic_and_a_wide_one_leaves_it() {
    let critic = critic(&configs()[1]);
    let judgements = judgements(&critic);
    let loss = |clip| number(learn_critic(&critic, &judgements, clip, 64).loss);
    let free = loss(ValueClip::Off);
    let clipped = [0.01, 0.1, 0.3].map(|most| loss(ValueClip::At(most)));
    assert!(clipped.iter().all(|clipped| *clipped > free), "{clipped:?} {free}");
    assert!((loss(ValueClip::At(10.0)) - free).abs() < 1e-6 * free);
}

#[test]
fn a_critic_that_begins_expects_nothing_and_learns() {
    let mut critic = Critic::zeroed(model(&configs()[0], &Device::flex().autodiff()));
    let (rollout, _) = rollout();
    let said = block_on(expectations(&critic.valid(), &pairs(&rollout), 5)).unwrap();
    assert!(said.iter().flatten().all(|value| *value == 0.0));
    let prepared = prepared(&PolicyGradient::ppo(), &said);
    let rows = prepared.experiences.iter().zip(&said).zip(&prepared.returns);
    let judgements: Vec<Judgement> =
        rows.map(|((one, old), returns)| Judgement::of(one, old, returns)).collect();
    let mut optimizer = AdamW::new(AdamWConfig::default());
    let losses = [(); 10].map(|()| {
        let mut learned = learn_critic(&critic, &judgements, ValueClip::Off, 8);
        learned.gradients.clip(1.0);
        critic = optimizer.step(critic.clone(), learned.gradients, 1e-2);
        number(learned.loss)
    });
    assert!(losses[9] < 0.5 * losses[0], "{losses:?}");
}

/// The gradient of `choices` on the policy that drew, with these values expected.
fn gradient(choices: &PolicyGradient, policy: &Transformer, values: &[Vec<f32>]) -> Vec<f32> {
    let mut experiences = prepared(choices, values).experiences;
    let (rollout, _) = rollout();
    let current = block_on(log_probs(&policy.valid(), &pairs(&rollout), 1.0, 8)).unwrap();
    experiences.iter_mut().zip(current).for_each(|(one, row)| one.old = row);
    let now = choices.coefficients(&choices.initial_state());
    flat(&learn(policy, &experiences, &choices.at(now), 64).gradients)
}

#[test]
fn ppo_in_its_first_update_is_a2c_whitened_and_without_a_critic_reinforce() {
    let policy = model(&configs()[0], &Device::flex().autodiff());
    let critic = critic(&configs()[0]);
    let (rollout, _) = rollout();
    let said = block_on(expectations(&critic.valid(), &pairs(&rollout), 5)).unwrap();
    let nothing: Vec<Vec<f32>> = said.iter().map(|row| vec![0.0; row.len()]).collect();
    let same = |ours: &PolicyGradient, theirs: &PolicyGradient, values: &[Vec<f32>]| {
        let (ours, theirs) = (gradient(ours, &policy, values), gradient(theirs, &policy, values));
        assert!(worst(&ours, &theirs) < 1e-5 * norm(&theirs) as f32);
    };
    let ppo = PolicyGradient::ppo();
    let a2c = PolicyGradient {
        baseline: ppo.baseline,
        scale: ppo.scale,
        kl_coefficient: ppo.kl_coefficient,
        ..PolicyGradient::a2c()
    };
    same(&ppo, &a2c, &said);
    // A critic that expects nothing takes nothing off: what follows is what is left.
    let alone = Baseline::Value { gamma: 1.0, lam: 1.0 };
    let ppo = PolicyGradient { baseline: alone, scale: Scale::None, ..ppo };
    let reinforce = PolicyGradient {
        baseline: Baseline::None,
        kl_placement: KlPlacement::TokenRewardK1,
        kl_coefficient: ppo.kl_coefficient,
        ..PolicyGradient::reinforce()
    };
    same(&ppo, &reinforce, &nothing);
}
