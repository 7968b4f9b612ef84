//! `trainer bench`: speed and memory of a training step and of generation, for `cargo xtask bench`.
//!
//! The shapes are those of `benches/peer_torch.py`: a GPT-2 layout with random weights. Prints one
//! JSON line in the peer's form, so that the two are compared in one run.

use std::time::Instant;

use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};
use burn::tensor::{Device, Tensor, TensorData};
use kudos_core::learn::{Activations, training_device};
use kudos_core::model::{Transformer, TransformerConfig, initialize};
use kudos_core::objective::{Aggregation, Experience, Supervised};
use kudos_core::optim::{AdamW, AdamWConfig};
use kudos_core::rollout::{Coins, Generation, StopTokens};
use kudos_schema::Sampling;
use pollster::block_on;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::parallel::Workers;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Forward, backward, clipping and AdamW on 4 sequences of 256 tokens.
    Train,
    /// 64 completions of 128 tokens after prompts of 32.
    Generate,
    /// One token at position 32 and at position 500.
    DecodeAt,
    /// Resident memory over 2,000 training steps of a small model.
    Memory,
    /// 1 and 64 rows times a matrix of 1024 x 1024: in f32, and in 8 bits as burn multiplies with them.
    Products,
}

/// One line of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was timed.
    pub mode: String,
    /// Tokens a second of wall time.
    pub tokens_per_second: f64,
    /// Tokens a second of this process's CPU time; 0 where the system does not tell.
    pub cpu_tokens_per_second: f64,
    /// Largest resident memory in MiB; 0 where the system does not tell.
    pub peak_rss_mib: f64,
    /// Milliseconds a token at position 32, in `decode-at`.
    pub ms_at_32: Option<f64>,
    /// Milliseconds a token at position 500, in `decode-at`.
    pub ms_at_500: Option<f64>,
    /// Milliseconds of a product in f32, of 1 and of 64 rows, in `products`.
    pub ms_product: Option<[f64; 2]>,
    /// The same in 8 bits.
    pub ms_product_in_8_bits: Option<[f64; 2]>,
    /// Resident memory in MiB after 200 steps, in `memory`.
    pub rss_mib_early: Option<f64>,
    /// Resident memory in MiB after 2,000 steps, in `memory`.
    pub rss_mib_late: Option<f64>,
}

/// Measures `mode` on `device`, for at least `seconds` after a warm-up where it is timed.
pub fn run(mode: Mode, device: &Device, seconds: f64) -> Row {
    match mode {
        Mode::Train => train(device, seconds),
        Mode::Generate => generation(device, seconds),
        Mode::DecodeAt => decode_at(device),
        Mode::Memory => memory(device),
        Mode::Products => products(device),
    }
}

fn config(context_length: usize) -> TransformerConfig {
    TransformerConfig {
        n_heads: 8,
        n_kv_heads: 8,
        d_head: 64,
        ..TransformerConfig::gpt2(8192, context_length, 6, 512)
    }
}

fn model(context_length: usize, device: &Device) -> Transformer {
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    initialize(Transformer::zeroed(&config(context_length), device), &mut coins)
}

fn random_tokens(count: usize, vocabulary: u32) -> Vec<u32> {
    let mut coins = ChaCha8Rng::seed_from_u64(2);
    (0..count).map(|_| coins.next_u32() % vocabulary).collect()
}

/// A training step again and again, on the same tokens.
struct Training {
    model: Transformer,
    optimizer: AdamW,
    objective: Supervised,
    experiences: Vec<Experience>,
}

impl Training {
    /// On `rows` sequences of `length` tokens.
    fn new(model: Transformer, rows: usize, length: usize) -> Self {
        let vocabulary = model.config().vocab_size as u32;
        let objective = Supervised { aggregation: Aggregation::TokenMean };
        let pairs: Vec<_> = random_tokens(rows * (length + 1), vocabulary)
            .chunks(length + 1)
            .map(|row| (row[..1].to_vec(), row[1..].to_vec()))
            .collect();
        let experiences = objective.experiences(&pairs);
        Self { model, optimizer: AdamW::new(AdamWConfig::default()), objective, experiences }
    }

    fn step(&mut self) {
        let workers = Workers::of(&self.model.device());
        let rows = self.experiences.len();
        let mut learned = workers.learn(&self.model, &self.experiences, &self.objective, rows);
        let norm = learned.gradients.clip(1.0);
        self.model = self.optimizer.step(self.model.clone(), learned.gradients, 1e-4);
        // Waits for the device: the last weights depend on everything before.
        let weights = self.model.token_embedding.weight.val().without_autodiff();
        let done = weights.narrow(0, 0, 1).sum() + norm;
        block_on(done.into_data_async()).expect("the device answers");
    }
}

fn train(device: &Device, seconds: f64) -> Row {
    let device = training_device(device, Activations::Keep);
    let mut training = Training::new(model(256, &device), 4, 256);
    timed("train", 4 * 256, seconds, || training.step())
}

/// What is resident after 200 and after 2,000 steps: burn has leaked in long runs before.
fn memory(device: &Device) -> Row {
    let device = training_device(device, Activations::Keep);
    let mut coins = ChaCha8Rng::seed_from_u64(1);
    let config = TransformerConfig::llama(256, 64, 2, 64);
    let model = initialize(Transformer::zeroed(&config, &device), &mut coins);
    let mut training = Training::new(model, 8, 32);
    let mut steps = |count: usize| {
        (0..count).for_each(|_| training.step());
        Some(memory_mib("VmRSS:"))
    };
    let (rss_mib_early, rss_mib_late) = (steps(200), steps(1800));
    Row { rss_mib_early, rss_mib_late, ..row("memory", 0.0, 0.0) }
}

fn generation(device: &Device, seconds: f64) -> Row {
    let model = model(256, device);
    let prompts = random_tokens(64 * 32, 8192);
    let prompts: Vec<Vec<u32>> = prompts.chunks(32).map(<[u32]>::to_vec).collect();
    let sampling = Sampling { max_completion_length: 128, ..Sampling::default() };
    let stop = StopTokens(Vec::new());
    let workers = Workers::of(device);
    let mut step = 0;
    let rollout = move || {
        step += 1;
        let coins = Coins::new(1, step);
        let generation = Generation { sampling: &sampling, stop: &stop, coins, first_index: 0 };
        workers.generate(&model, &prompts, &generation).expect("prompts fit the context");
    };
    timed("generate", 64 * 128, seconds, rollout)
}

/// One sequence decoded to position 512; the median time a token around two positions.
fn decode_at(device: &Device) -> Row {
    use kudos_core::model::{Cache, Tokens};
    let model = model(512, device);
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut cache = Cache::new(&model, 64, 512);
        for position in 0..512 {
            let start = Instant::now();
            let ids = burn::tensor::Tensor::full([64, 1], 7, device);
            let positions = burn::tensor::Tensor::full([64, 1], position, device);
            let hidden = model.hidden_cached(&Tokens::next(ids, positions), &mut cache);
            let logits = model.logits(hidden).sum();
            block_on(logits.into_data_async()).expect("the device answers");
            times.push((position, start.elapsed().as_secs_f64() * 1e3));
        }
    }
    let around = |center: i64| {
        let near = times.iter().filter(|(position, _)| (position - center).abs() <= 8);
        let mut near: Vec<f64> = near.map(|(_, time)| *time).collect();
        near.sort_by(f64::total_cmp);
        near[near.len() / 2]
    };
    let (early, late) = (around(32), around(500));
    Row {
        ms_at_32: Some(early),
        ms_at_500: Some(late),
        ..row("decode-at", 64.0 * 1e3 / early, 0.0)
    }
}

/// Whether weights had better be unpacked once, when a policy is loaded, or in every product.
fn products(device: &Device) -> Row {
    const SIDE: usize = 1024;
    const ROUNDS: usize = 50;
    let filled = |rows: usize| {
        let wave = |place: usize| 1.0 + (place as f32 * 0.37).sin();
        let data: Vec<f32> = (0..rows * SIDE).map(wave).collect();
        Tensor::<2>::from_data(TensorData::new(data, [rows, SIDE]), device)
    };
    let scheme =
        QuantScheme::default().with_value(QuantValue::Q8S).per_block([32], ScaleDtype::F32);
    let plain = filled(SIDE);
    let packed = plain.clone().quantize_dynamic(&scheme);
    let time = |matrix: &Tensor<2>| {
        [1, 64].map(|rows| {
            let rows = filled(rows);
            let (mut times, mut last) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let start = Instant::now();
                let done = rows.clone().matmul(matrix.clone());
                let done = block_on(done.into_data_async()).expect("the device answers");
                times.push(start.elapsed().as_secs_f64() * 1e3);
                last = done.convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
            }
            times.sort_by(f64::total_cmp);
            (times[ROUNDS / 2], last)
        })
    };
    let (plain, packed) = (time(&plain), time(&packed));
    for ((_, plain), (_, packed)) in plain.iter().zip(&packed) {
        let largest = plain.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let off = plain.iter().zip(packed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 0.05 * largest, "off by {off} of {largest}: no product to be timed");
    }
    let times = |all: [(f64, Vec<f32>); 2]| Some(all.map(|(time, _)| time));
    let (ms_product, ms_product_in_8_bits) = (times(plain), times(packed));
    Row { ms_product, ms_product_in_8_bits, ..row("products", 0.0, 0.0) }
}

fn timed(mode: &str, tokens: usize, seconds: f64, mut work: impl FnMut()) -> Row {
    work();
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    let mut rounds = 0;
    while rounds < 2 || start.elapsed().as_secs_f64() < seconds {
        work();
        rounds += 1;
    }
    let done = (tokens * rounds) as f64;
    let cpu = cpu_seconds() - cpu_start;
    let per_cpu = if cpu > 0.0 { done / cpu } else { 0.0 };
    row(mode, done / start.elapsed().as_secs_f64(), per_cpu)
}

fn row(mode: &str, tokens_per_second: f64, cpu_tokens_per_second: f64) -> Row {
    Row {
        mode: mode.to_owned(),
        tokens_per_second,
        cpu_tokens_per_second,
        peak_rss_mib: memory_mib("VmHWM:"),
        ms_at_32: None,
        ms_at_500: None,
        ms_product: None,
        ms_product_in_8_bits: None,
        rss_mib_early: None,
        rss_mib_late: None,
    }
}

/// User and system time of this process, from /proc; 0 elsewhere.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Fields 14 and 15 of the line, in clock ticks of 10 ms; two come before the parenthesis.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// An amount of memory of this process, as /proc/self/status calls it; 0 elsewhere.
fn memory_mib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
