//! Laws of learning, on small random models: gradients are finite differences, and how a batch is cut,
//! ordered, padded or kept in memory changes no trajectory.

mod completions;
mod critic;
mod distil;
mod kept;
mod memory;
mod ragged;
mod ratios;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use kudos_core::learn::{Activations, learn, learn_scores, log_probs, scores, training_device};
use kudos_core::model::parameters::Path;
use kudos_core::model::{Scorer, Transformer, TransformerConfig, Trunk, cast, initialize};
use kudos_core::objective::{
    Aggregation, Algorithm, Clip, Coefficients, Collected, EntropyBonus, Experience, KlCoefficient,
    KlPlacement, Linear, Objective, Pair, PolicyGradient, Preference, PreferenceLoss, RatioLevel,
    RewardFit, Side, Supervised, Surrogate, Truncated, VerdictOn, Weighted,
};
use kudos_core::optim::{AdamW, AdamWConfig, Gradients};
use kudos_core::rollout::Rollout;
use kudos_schema::EndReason;
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOCABULARY: usize = 50;

/// Completions a prompt.
const GROUP: usize = 4;

fn configs() -> [TransformerConfig; 2] {
    let llama = TransformerConfig::llama(VOCABULARY, 48, 2, 32);
    let llama = TransformerConfig { n_heads: 4, n_kv_heads: 2, d_head: 8, ..llama };
    let gpt2 = TransformerConfig::gpt2(VOCABULARY, 48, 2, 32);
    [llama, TransformerConfig { n_heads: 2, n_kv_heads: 2, d_head: 16, ..gpt2 }]
}

/// A model whose distributions are far from uniform.
fn model(config: &TransformerConfig, device: &Device) -> Transformer {
    struct Sharpen;
    impl ModuleMapper for Sharpen {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D < 2 { param } else { param.map(|tensor| moved(tensor, |t| t.mul_scalar(6.0))) }
        }
    }
    let mut coins = ChaCha8Rng::seed_from_u64(11);
    initialize(Transformer::zeroed(config, device), &mut coins).map(&mut Sharpen)
}

/// A leaf with other values, tracked as before.
fn moved<const D: usize>(leaf: Tensor<D>, to: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    let strategy = leaf.gradient_checkpointing_strategy().expect("the model is tracked");
    let values = Tensor::from_inner(to(leaf.without_autodiff()));
    values.with_gradient_checkpointing_strategy(strategy).require_grad()
}

fn tokens(coins: &mut ChaCha8Rng, length: usize) -> Vec<u32> {
    (0..length).map(|_| coins.next_u32() % VOCABULARY as u32).collect()
}

/// Completions of uneven lengths, with log-probabilities near those of a uniform policy.
fn rollout() -> (Rollout, Vec<Vec<f32>>) {
    let mut coins = ChaCha8Rng::seed_from_u64(5);
    let mut rollout = Rollout::default();
    let mut reference = Vec::new();
    for row in 0..4 * GROUP {
        let length = 1 + (row * 5) % 12;
        let near = |coins: &mut ChaCha8Rng| -> Vec<f32> {
            (0..length).map(|_| -3.5 - (coins.next_u32() % 100) as f32 / 100.0).collect()
        };
        rollout.prompts.push(tokens(&mut coins, 2 + (row / GROUP) * 4));
        rollout.completions.push(tokens(&mut coins, length));
        rollout.logprobs_full.push(near(&mut coins));
        reference.push(near(&mut coins));
        let cut = row % 5 == 4;
        rollout.end_reasons.push(if cut { EndReason::Length } else { EndReason::Stop });
    }
    rollout.logprobs_drawn = rollout.logprobs_full.clone();
    (rollout, reference)
}

fn experiences(choices: &PolicyGradient) -> Vec<Experience> {
    let (rollout, reference) = rollout();
    let mut coins = ChaCha8Rng::seed_from_u64(6);
    let rewards: Vec<f32> =
        rollout.prompts.iter().map(|_| (coins.next_u32() % 1000) as f32 / 500.0).collect();
    let mut state = choices.initial_state();
    let collected =
        Collected { reference: &reference, ..Collected::new(&rollout, &rewards, GROUP) };
    choices.prepare(&collected, &mut state).experiences
}

fn imitation() -> (Supervised, Vec<Experience>) {
    let objective = Supervised { aggregation: Aggregation::SequenceMean };
    let (rollout, _) = rollout();
    let pairs: Vec<_> = rollout.prompts.into_iter().zip(rollout.completions).collect();
    let experiences = objective.experiences(&pairs);
    (objective, experiences)
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_data().try_to_vec::<f32>().unwrap()[0])
}

/// All gradients, one parameter after the other.
fn flat(gradients: &Gradients) -> Vec<f32> {
    let values = gradients.names().map(|name| gradients.get(name).unwrap().into_data());
    values.flat_map(|data| data.try_to_vec::<f32>().unwrap()).collect()
}

/// Every weight, one parameter after the other.
fn weights(model: &Transformer) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().without_autodiff().into_data();
            self.0.extend(data.try_to_vec::<f32>().unwrap());
        }
    }
    let mut collect = Collect(Vec::new());
    model.visit(&mut collect);
    collect.0
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

fn worst(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// How far each value of a parameter goes, by its name and number of values.
type Direction<'a> = dyn Fn(&str, usize) -> Vec<f32> + 'a;

/// Walks along a direction in the space of the weights.
struct Walk<'a> {
    path: Path,
    direction: &'a Direction<'a>,
    distance: f64,
}

impl ModuleMapper for Walk<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        param.map(|tensor| {
            let shape = tensor.shape();
            let direction = (self.direction)(&name, shape.num_elements());
            moved(tensor, |tensor| {
                let by = TensorData::new(direction, shape);
                let by = Tensor::<D>::from_data(by, &tensor.device());
                tensor + by.mul_scalar(self.distance)
            })
        })
    }
}

/// The slope of the loss along the gradient, and along a random direction, is what the gradient says.
fn check_slopes<M: Module>(what: &str, model: &M, loss: &dyn Fn(&M) -> (f64, Gradients)) {
    let gradients = loss(model).1;
    let size = norm(&flat(&gradients));
    let along = |name: &str, _: usize| {
        let gradient = gradients.get(name).unwrap().into_data().try_to_vec::<f32>().unwrap();
        gradient.into_iter().map(|value| value / size as f32).collect()
    };
    let astray = |name: &str, count: usize| {
        let mut coins = ChaCha8Rng::seed_from_u64(name.len() as u64);
        let sign = |bit: u32| if bit & 1 == 0 { 0.01 } else { -0.01 };
        (0..count).map(|_| sign(coins.next_u32())).collect()
    };
    let directions: [&Direction<'_>; 2] = [&along, &astray];
    for direction in directions {
        let expected: f64 = gradients
            .names()
            .flat_map(|name| {
                let gradient = gradients.get(name).unwrap().into_data();
                let gradient = gradient.try_to_vec::<f32>().unwrap();
                let by = direction(name, gradient.len());
                gradient.into_iter().zip(by).map(|(a, b)| f64::from(a) * f64::from(b))
            })
            .sum();
        let loss_at = |distance: f64| {
            let mut walk = Walk { path: Path::default(), direction, distance };
            loss(&model.clone().map(&mut walk)).0
        };
        let step = 2e-3;
        let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        assert!(
            (slope - expected).abs() < 5e-3 * size,
            "{what}: slope {slope}, gradient {expected}, norm {size}"
        );
    }
}

fn check_gradient(what: &str, objective: &dyn Objective, experiences: &[Experience]) {
    for config in configs() {
        let model = model(&config, &Device::flex().autodiff());
        check_slopes(what, &model, &|model| {
            let learned = learn(model, experiences, objective, 64);
            (number(learned.loss), learned.gradients)
        });
    }
}

#[test]
fn the_gradient_of_every_objective_is_its_finite_difference() {
    let (objective, experiences) = imitation();
    check_gradient("supervised", &objective, &experiences);
    for aggregation in [Aggregation::TokenMean, Aggregation::SequenceMean, Aggregation::Constant(9)]
    {
        for kl_placement in
            [KlPlacement::None, KlPlacement::RewardK1, KlPlacement::LossK2, KlPlacement::LossK3]
        {
            let bonus = if aggregation == Aggregation::TokenMean { 0.2 } else { 0.0 };
            let choices = PolicyGradient {
                aggregation,
                kl_placement,
                surrogate: Surrogate::ScoreFunction,
                kl_coefficient: KlCoefficient::Fixed(0.3),
                entropy_bonus: EntropyBonus::Fixed(bonus),
                truncated: Truncated::Mask,
                temperature: if kl_placement == KlPlacement::LossK3 { 0.7 } else { 1.0 },
                ..PolicyGradient::grpo()
            };
            let objective = choices.at(Coefficients { beta: 0.3, entropy_bonus: bonus });
            check_gradient(&format!("{choices:?}"), &objective, &self::experiences(&choices));
        }
    }
}

/// The sum of the log-probabilities of each completion.
fn sums(model: &Transformer, pairs: &[(&[u32], &[u32])]) -> Vec<f64> {
    let log_probs = block_on(log_probs(&model.valid(), pairs, 1.0, 5)).unwrap();
    log_probs.iter().map(|row| row.iter().map(|value| f64::from(*value)).sum()).collect()
}

#[test]
fn the_gradient_of_a_preference_loss_is_its_finite_difference_in_any_micro_batches() {
    let (rollout, _) = rollout();
    let rows = rollout.prompts.iter().zip(&rollout.completions);
    let pairs: Vec<(&[u32], &[u32])> = rows.map(|(p, c)| (p.as_slice(), c.as_slice())).collect();
    let side = |policy: f64, row: usize| Side {
        policy,
        reference: -4.0 * pairs[row].1.len() as f64,
        tokens: pairs[row].1.len(),
    };
    for loss in [
        PreferenceLoss::Sigmoid,
        PreferenceLoss::Hinge,
        PreferenceLoss::Ipo,
        PreferenceLoss::Robust,
        PreferenceLoss::SigmoidNorm,
        PreferenceLoss::ApoZero,
        PreferenceLoss::SimPo { margin: 0.3 },
        PreferenceLoss::Orpo,
    ] {
        let preference = Preference { loss, beta: 0.3, label_smoothing: 0.1, rpo_alpha: 0.4 };
        for config in configs() {
            let model = model(&config, &Device::flex().autodiff());
            for size in [64, 3] {
                check_slopes(&format!("{loss:?}"), &model, &|model| {
                    let sides = sums(model, &pairs).into_iter().enumerate();
                    let sides: Vec<Side> = sides.map(|(row, sum)| side(sum, row)).collect();
                    let two = sides.chunks(2);
                    let two: Vec<Pair> = two
                        .map(|two| Pair { chosen: two[0], rejected: two[1], weight: 1.0 })
                        .collect();
                    let linearized = preference.linearize(&two);
                    let experiences = Linear::experiences(&pairs, &linearized.slopes);
                    let objective = Linear { temperature: 1.0 };
                    let learned = learn(model, &experiences, &objective, size);
                    (linearized.loss, learned.gradients)
                });
            }
        }
    }
}

#[test]
fn the_gradient_of_scores_is_their_finite_difference_in_any_micro_batches() {
    let (rollout, _) = rollout();
    let texts: Vec<&[u32]> = rollout.completions.iter().map(Vec::as_slice).collect();
    let grade = |place: usize| Weighted {
        verdict: VerdictOn::Grade { place, share: (place % 3) as f64 / 2.0 },
        weight: 1.0,
    };
    let verdicts: Vec<Weighted> = (0..texts.len()).map(grade).collect();
    for config in configs() {
        let trunk = model(&config, &Device::flex().autodiff());
        let mut scorer = Scorer::zeroed(Trunk::Policy(trunk));
        let width = config.d_model;
        let head = (0..width).map(|place| (place % 7) as f32 / 7.0 - 0.4).collect::<Vec<_>>();
        let head = TensorData::new(head, [width, 1]);
        scorer.head.weight = scorer
            .head
            .weight
            .map(|weight| Tensor::<2>::from_data(head, &weight.device()).require_grad());
        for size in [64, 3] {
            check_slopes("scores", &scorer, &|scorer: &Scorer| {
                let found = block_on(scores(&scorer.valid(), &texts, 5)).unwrap();
                let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                let linearized = RewardFit::default().linearize(&found, &verdicts);
                (linearized.loss, learn_scores(scorer, &texts, &linearized.slopes, size))
            });
        }
    }
}

/// Losses of ten steps and the weights after them, when `cut` makes the gradient of each step.
fn trajectory(cut: &dyn Fn(&Transformer) -> (f64, Gradients)) -> (Vec<f64>, Vec<f32>) {
    let mut model = model(&configs()[0], &Device::flex().autodiff());
    let mut optimizer = AdamW::new(AdamWConfig::default());
    let losses = (0..10).map(|_| {
        let (loss, mut gradients) = cut(&model);
        gradients.clip(1.0);
        model = optimizer.step(model.clone(), gradients, 1e-3);
        loss
    });
    let losses = losses.collect();
    (losses, weights(&model))
}

#[test]
fn micro_batches_accumulation_padding_and_order_change_no_trajectory() {
    let aggregations =
        [Aggregation::TokenMean, Aggregation::SequenceMean, Aggregation::Constant(12)];
    for aggregation in aggregations {
        let choices = PolicyGradient {
            aggregation,
            kl_placement: KlPlacement::LossK3,
            entropy_bonus: EntropyBonus::Fixed(0.05),
            truncated: Truncated::Mask,
            ..PolicyGradient::rloo()
        };
        let objective = choices.at(Coefficients { beta: 0.1, entropy_bonus: 0.05 });
        let whole = experiences(&choices);
        let learned = |model: &Transformer, part: &[Experience], size: usize| {
            let learned = learn(model, part, &objective, size);
            (number(learned.loss), learned.gradients)
        };
        let (losses, expected) = trajectory(&|model| learned(model, &whole, whole.len()));
        assert!((losses[0] - losses[9]).abs() > 1e-2, "ten steps change the loss: {losses:?}");
        let check = |what: &str, cut: &dyn Fn(&Transformer) -> (f64, Gradients)| {
            let (found, weights) = trajectory(cut);
            for (a, b) in found.iter().zip(&losses) {
                assert!((a - b).abs() < 1e-5, "{what}, {aggregation:?}: {found:?} {losses:?}");
            }
            let off = worst(&weights, &expected);
            assert!(off < 1e-4, "{what}, {aggregation:?}: weights differ by {off}");
        };
        for size in [1, 3, 8] {
            check(&format!("micro-batches of {size}"), &|model| learned(model, &whole, size));
        }
        let mut reversed = whole.clone();
        reversed.reverse();
        check("reversed", &|model| learned(model, &reversed, 3));
        let mut sorted = whole.clone();
        sorted.sort_by_key(|one| one.prompt.len() + one.completion.len());
        check("sorted by length, so padded differently", &|model| learned(model, &sorted, 4));
        check("accumulated in two parts", &|model| {
            let (first, second) = whole.split_at(6);
            let ((a, mut gradients), (b, others)) =
                (learned(model, first, 8), learned(model, second, 8));
            gradients.add(others);
            (a + b, gradients)
        });
    }
}
