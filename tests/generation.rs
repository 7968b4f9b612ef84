//! Laws of decoding, on random models of both families.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::log_probs;
use kudos_core::model::{
    Cache, HostMatrix, HostNumbers, HostView, PaddingSide, Positions, RotaryPairing, Tokens,
    Transformer, TransformerConfig, initialize, parameters,
};
use kudos_core::rollout::{
    Coins, Generation, Rollout, StopTokens, distribution, draw, generate,
    log_probs as full_log_probs,
};
use kudos_schema::{EndReason, Sampling};
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A model with weights large enough that distributions are far from uniform.
fn model(config: &TransformerConfig, device: &Device) -> Transformer {
    let mut coins = ChaCha8Rng::seed_from_u64(11);
    let model = initialize(Transformer::zeroed(config, device), &mut coins);
    scaled(model, 12.0)
}

fn scaled(model: Transformer, factor: f64) -> Transformer {
    struct Scale(f64);
    impl burn::module::ModuleMapper for Scale {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            if D < 2 { param } else { param.map(|tensor| tensor.mul_scalar(self.0)) }
        }
    }
    burn::module::Module::map(model, &mut Scale(factor))
}

fn configs() -> [TransformerConfig; 2] {
    let grouped = TransformerConfig { n_heads: 4, n_kv_heads: 2, d_head: 8, ..llama() };
    [grouped, TransformerConfig { n_heads: 2, n_kv_heads: 2, d_head: 16, ..gpt2() }]
}

fn llama() -> TransformerConfig {
    TransformerConfig::llama(50, 48, 2, 32)
}

fn gpt2() -> TransformerConfig {
    TransformerConfig::gpt2(50, 48, 2, 32)
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![5, 6, 7], vec![9], vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10], vec![30, 31]]
}

fn settings() -> Vec<Sampling> {
    let base = Sampling { max_completion_length: 20, ..Sampling::default() };
    vec![
        base.clone(),
        Sampling { temperature: 0.0, ..base.clone() },
        Sampling { temperature: 0.7, top_k: 7, ..base.clone() },
        Sampling { temperature: 1.3, top_p: 0.8, ..base.clone() },
        Sampling { top_k: 20, top_p: 0.9, min_p: 0.02, ..base.clone() },
        Sampling { repetition_penalty: 1.5, top_k: 10, ..base },
    ]
}

fn run(model: &Transformer, prompts: &[Vec<u32>], sampling: &Sampling, first: usize) -> Rollout {
    let stop = StopTokens(vec![1, 2]);
    let generation =
        Generation { sampling, stop: &stop, coins: Coins::new(3, 4), first_index: first };
    block_on(generate(model, prompts, &generation)).unwrap()
}

fn assert_close(ours: &[Vec<f32>], theirs: &[Vec<f32>], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < tolerance, "{a} {b}");
        }
    }
}

#[test]
fn cached_and_uncached_logits_agree() {
    for config in configs() {
        let model = model(&config, &Device::flex());
        let rows = [[5u32, 9, 3, 30, 31, 7, 12, 2], [1, 2, 3, 4, 5, 6, 7, 8]];
        let slices: Vec<&[u32]> = rows.iter().map(|row| &row[..]).collect();
        let whole = model.forward(&Tokens::new(&slices, PaddingSide::Left, &Device::flex()));
        let mut cache = Cache::new(&model, 2, 8);
        for place in 0..rows[0].len() {
            let next: Vec<i32> = rows.iter().map(|row| row[place] as i32).collect();
            let ids = Tensor::from_data(TensorData::new(next, [2, 1]), &Device::flex());
            let positions = ids.full_like(place as i64);
            let hidden = model.hidden_cached(&Tokens::next(ids, positions), &mut cache);
            let step = model.logits(hidden);
            let difference = (step - whole.clone().narrow(1, place, 1)).abs().max();
            let difference: f32 = difference.into_data().try_to_vec::<f32>().unwrap()[0];
            assert!(difference < 1e-4, "{difference} at {place}");
        }
    }
}

#[test]
fn the_same_coins_draw_the_same_tokens() {
    for config in configs() {
        let model = model(&config, &Device::flex());
        for sampling in settings() {
            assert_eq!(
                run(&model, &prompts(), &sampling, 0),
                run(&model, &prompts(), &sampling, 0)
            );
        }
    }
}

/// A copy instead of a view, which any layout of the device allows.
#[derive(Debug)]
struct Copied(Vec<f32>);

impl HostNumbers for Copied {
    fn numbers(&self) -> &[f32] {
        &self.0
    }
}

impl HostMatrix for Copied {
    fn times(&self, row: &[f32]) -> Vec<f32> {
        self.0
            .chunks_exact(row.len())
            .map(|column| row.iter().zip(column).map(|(a, b)| a * b).sum())
            .collect()
    }
}

fn copied(tensor: Tensor<2>) -> Copied {
    Copied(tensor.into_data().try_to_vec().unwrap())
}

const COPIES: HostView = HostView {
    numbers: |tensor| Some(Arc::new(copied(tensor))),
    matrix: |weight| Some(Arc::new(copied(weight.transpose()))),
};

#[test]
fn one_sequence_on_plain_slices_is_written_as_on_the_device() {
    let [grouped, gpt2] = configs();
    let Positions::Rotary { theta, .. } = grouped.positions else { panic!("Llama turns") };
    let positions = Positions::Rotary { theta, pairing: RotaryPairing::Interleaved };
    let interleaved = TransformerConfig { positions, ..grouped.clone() };
    let untied = TransformerConfig { tied_head: false, ..grouped.clone() };
    for config in [grouped, interleaved, untied, gpt2] {
        let model = model(&config, &Device::flex());
        for prompt in prompts() {
            let sampling = Sampling { max_completion_length: 30, ..Sampling::default() };
            let device = run(&model, std::slice::from_ref(&prompt), &sampling, 0);
            let host = run(&model.clone().with_host_memory(COPIES), &[prompt], &sampling, 0);
            assert_eq!(host.completions, device.completions);
            assert_close(&host.logprobs_full, &device.logprobs_full, 1e-4);
        }
    }
}

#[test]
fn equal_prompts_are_written_on_where_memory_is_shown() {
    let model = model(&configs()[0], &Device::flex());
    let (pair, sampling) = (vec![prompts()[0].clone(); 2], &settings()[0]);
    let host = run(&model.clone().with_host_memory(COPIES), &pair, sampling, 0);
    assert_eq!(host.completions, run(&model, &pair, sampling, 0).completions);
}

#[test]
fn where_memory_is_not_shown_the_device_computes() {
    let model = model(&configs()[0], &Device::flex());
    let sampling = &settings()[0];
    let hidden = run(
        &model.clone().with_host_memory(HostView { numbers: |_| None, ..COPIES }),
        &prompts()[..1],
        sampling,
        0,
    );
    assert_eq!(hidden, run(&model, &prompts()[..1], sampling, 0));
}

#[test]
fn neighbours_padding_and_shared_prompts_change_nothing() {
    let shared = [prompts(), prompts()[1..].to_vec()].concat();
    for config in configs() {
        let model = model(&config, &Device::flex());
        for sampling in settings() {
            let together = run(&model, &shared, &sampling, 0);
            for (index, prompt) in shared.iter().cloned().enumerate() {
                let alone = run(&model, &[prompt], &sampling, index);
                assert_eq!(alone.completions[0], together.completions[index], "{sampling:?}");
                assert_close(&alone.logprobs_drawn, &together.logprobs_drawn[index..=index], 1e-4);
                assert_close(&alone.logprobs_full, &together.logprobs_full[index..=index], 1e-4);
            }
        }
    }
}

#[test]
fn a_completion_ends_with_its_stop_token_or_at_its_limit() {
    let model = model(&llama(), &Device::flex());
    let many: Vec<Vec<u32>> = (0..64).map(|id| vec![id % 50]).collect();
    let sampling = Sampling { max_completion_length: 20, temperature: 1.5, ..Sampling::default() };
    let rollout = run(&model, &many, &sampling, 0);
    let ends: Vec<_> = rollout.completions.iter().zip(&rollout.end_reasons).collect();
    for (completion, reason) in &ends {
        let (last, before) = completion.split_last().unwrap();
        assert!(before.iter().all(|id| ![1, 2].contains(id)));
        assert_eq!(**reason == EndReason::Stop, [1, 2].contains(last));
        assert!(**reason == EndReason::Stop || completion.len() == 20);
    }
    assert!(ends.iter().any(|(_, reason)| **reason == EndReason::Stop));
    assert!(ends.iter().any(|(_, reason)| **reason == EndReason::Length));
}

#[test]
fn a_full_context_ends_a_completion() {
    let config = TransformerConfig { context_length: 12, ..gpt2() };
    let model = model(&config, &Device::flex());
    let sampling = Sampling { max_completion_length: 40, ..Sampling::default() };
    let long = vec![7; 10];
    let rollout = run(&model, &[long.clone(), vec![5]], &sampling, 0);
    assert!(rollout.completions[0].len() <= 2 && rollout.completions[1].len() <= 11);
    assert_eq!(run(&model, &[long], &sampling, 0).completions[0], rollout.completions[0]);
}

/// Recomputes both log-probabilities of every token with a fresh forward pass.
fn recomputed(
    model: &Transformer,
    rollout: &Rollout,
    sampling: &Sampling,
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let rows = rollout.prompts.iter().zip(&rollout.completions);
    rows.map(|(prompt, completion)| {
        let sequence = [prompt.as_slice(), completion].concat();
        let tokens = Tokens::new(&[&sequence], PaddingSide::Left, &model.device());
        let logits = model.forward(&tokens).squeeze_dim::<2>(0);
        let mut pair = (Vec::new(), Vec::new());
        for (index, token) in completion.iter().enumerate() {
            let row = logits.clone().narrow(0, prompt.len() - 1 + index, 1);
            let full = full_log_probs(row, sampling);
            let kept = distribution(full.clone(), sampling);
            let at =
                |table: Tensor<2>| table.into_data().try_to_vec::<f32>().unwrap()[*token as usize];
            pair.0.push(at(kept));
            pair.1.push(at(full));
        }
        pair
    })
    .unzip()
}

#[test]
fn recorded_log_probabilities_equal_a_fresh_forward_pass() {
    for config in configs() {
        let model = model(&config, &Device::flex());
        let drawn_settings = settings()
            .into_iter()
            .filter(|sampling| sampling.temperature > 0.0 && sampling.repetition_penalty == 1.0);
        for sampling in drawn_settings {
            let rollout = run(&model, &prompts(), &sampling, 0);
            let (drawn, full) = recomputed(&model, &rollout, &sampling);
            assert_close(&rollout.logprobs_drawn, &drawn, 1e-4);
            assert_close(&rollout.logprobs_full, &full, 1e-4);
            let pairs: Vec<(&[u32], &[u32])> = rollout
                .prompts
                .iter()
                .zip(&rollout.completions)
                .map(|(prompt, completion)| (prompt.as_slice(), completion.as_slice()))
                .collect();
            let scored = block_on(log_probs(&model, &pairs, sampling.temperature, 3)).unwrap();
            assert_close(&rollout.logprobs_full, &scored, 1e-4);
        }
    }
}

#[test]
fn cut_tokens_are_never_drawn_and_the_rest_sums_to_one() {
    let mut coins = ChaCha8Rng::seed_from_u64(5);
    let logits: Vec<f32> = (0..200).map(|_| (coins.next_u32() % 1000) as f32 / 150.0).collect();
    let logits = Tensor::<2>::from_data(TensorData::new(logits, [4, 50]), &Device::flex());
    for sampling in settings() {
        let full = full_log_probs(logits.clone(), &sampling);
        let kept = distribution(full.clone(), &sampling).exp();
        let kept: Vec<f32> = kept.into_data().try_to_vec().unwrap();
        for row in kept.chunks(50) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let positive = row.iter().filter(|p| **p > 0.0).count();
            if sampling.top_k > 0 {
                assert!(positive <= sampling.top_k, "no ties among these logits");
            }
        }
    }
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    let probs = [0.5f32, 0.25, 0.125, 0.0625, 0.0625];
    let logits: Vec<f32> = probs.iter().map(|p| p.ln()).collect();
    let logits = Tensor::<2>::from_data(TensorData::new(logits, [1, 5]), &Device::flex());
    let check = |top_p: f64, expected: [f32; 5]| {
        let sampling = Sampling { top_p, ..Sampling::default() };
        let kept = distribution(full_log_probs(logits.clone(), &sampling), &sampling).exp();
        let kept: Vec<f32> = kept.into_data().try_to_vec().unwrap();
        kept.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{kept:?}"));
    };
    check(0.4, [1.0, 0.0, 0.0, 0.0, 0.0]);
    check(0.6, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0, 0.0]);
    check(0.8, [0.5 / 0.875, 0.25 / 0.875, 0.125 / 0.875, 0.0, 0.0]);
    check(0.99, probs);
}

#[test]
fn sampled_frequencies_match_the_distribution() {
    let rows = 20_000;
    let probs = [0.4f32, 0.05, 0.2, 0.15, 0.01, 0.19];
    let logits: Vec<f32> = probs.iter().map(|p| p.ln()).cycle().take(6 * rows).collect();
    let logits = Tensor::<2>::from_data(TensorData::new(logits, [rows, 6]), &Device::flex());
    let coins: Vec<f32> = (0..rows).map(|row| Coins::new(9, 9).of_completion(row, 1)[0]).collect();
    let coins = Tensor::<2>::from_data(TensorData::new(coins, [rows, 1]), &Device::flex());
    let check = |sampling: Sampling| {
        let full = full_log_probs(logits.clone(), &sampling);
        let kept = distribution(full.clone(), &sampling);
        let token = draw(&full, &kept, coins.clone(), &sampling).token;
        let token = token.into_data().convert::<i64>().try_to_vec::<i64>().unwrap();
        let expected: Vec<f32> = kept.narrow(0, 0, 1).exp().into_data().try_to_vec().unwrap();
        let mut statistic = 0.0;
        for (id, p) in expected.iter().enumerate() {
            let count = token.iter().filter(|drawn| **drawn == id as i64).count() as f64;
            let mean = f64::from(*p) * rows as f64;
            if mean == 0.0 {
                assert_eq!(count, 0.0);
            } else {
                statistic += (count - mean).powi(2) / mean;
            }
        }
        // 99.9 % quantile of chi-squared with 5 degrees of freedom.
        assert!(statistic < 20.5, "{statistic}");
    };
    check(Sampling::default());
    check(Sampling { temperature: 2.0, ..Sampling::default() });
    check(Sampling { top_k: 3, ..Sampling::default() });
    check(Sampling { top_p: 0.7, ..Sampling::default() });
}

#[test]
fn an_impossible_prompt_is_named() {
    let model = model(&llama(), &Device::flex());
    let sampling = Sampling::default();
    let stop = StopTokens(vec![1]);
    let generation =
        Generation { sampling: &sampling, stop: &stop, coins: Coins::new(0, 0), first_index: 0 };
    let error = |prompts: &[Vec<u32>]| {
        block_on(generate(&model, prompts, &generation)).unwrap_err().to_string()
    };
    assert!(error(&[vec![1], vec![]]).contains("prompt 1 is empty"));
    assert!(error(&[vec![0; 48]]).contains("48 tokens"));
    assert!(parameters::count(&model) > 10_000);
}

#[test]
fn a_batch_halved_on_the_way_draws_what_each_prompt_draws_alone() {
    let stop = StopTokens((0..6).collect());
    let prompts: Vec<Vec<u32>> = (0..21).map(|row| (6..8 + row % 5).collect()).collect();
    let sampling =
        Sampling { max_completion_length: 40, repetition_penalty: 1.1, ..Sampling::default() };
    for config in configs() {
        let model = model(&config, &Device::flex());
        let draw = |prompts: &[Vec<u32>], first_index: usize| {
            let coins = Coins::new(8, 2);
            let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index };
            block_on(generate(&model, prompts, &generation)).unwrap()
        };
        let together = draw(&prompts, 0);
        let early = together.completions.iter().filter(|ids| ids.len() <= 8).count();
        let late = together.completions.iter().filter(|ids| ids.len() > 8).count();
        assert!(early > late && late > 1, "the batch is halved: {early} early, {late} late");
        for (row, prompt) in prompts.iter().enumerate() {
            let alone = draw(std::slice::from_ref(prompt), row);
            assert_eq!(together.completions[row], alone.completions[0], "row {row}");
            assert_eq!(together.end_reasons[row], alone.end_reasons[0]);
            assert_close(&together.logprobs_drawn[row..=row], &alone.logprobs_drawn, 1e-4);
            assert_close(&together.logprobs_full[row..=row], &alone.logprobs_full, 1e-4);
        }
    }
}
