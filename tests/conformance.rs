//! One program, three devices: flex, ndarray and software Vulkan compute the same.
//!
//! `cargo xtask test` points the Vulkan loader at a software driver. Without one these tests fail:
//! a GPU path that nobody runs is not known to work.

use burn::tensor::Device;
use kudos_core::learn::{Activations, learn, training_device};
use kudos_core::objective::{Aggregation, Supervised};
use kudos_core::rollout::{Coins, Generation, Rollout, StopTokens, generate};
use kudos_schema::Sampling;
use pollster::block_on;
use trainer::device::{DeviceChoice, Trust, adapters, select};
use trainer::self_test::{Measured, Outcome, compare, configs, measure, model};

/// The independent oracle; its authors deprecate it in favor of flex, which is what it checks.
#[expect(deprecated, reason = "kept as an oracle, see ARCHITECTURE.md")]
fn ndarray() -> Device {
    Device::ndarray()
}

fn software_vulkan() -> Device {
    let is_wanted = |kind: &str, software| kind == "Vulkan" && software;
    let found = adapters().iter().find(|it| is_wanted(&it.graphics_api, it.is_software()));
    let index = found.map(|adapter| adapter.index).expect(
        "no software Vulkan adapter: install mesa-vulkan-drivers, then run `cargo xtask test`, or set \
         VK_ICD_FILENAMES to the driver's file (KUDOS_LAVAPIPE_ICD names it)",
    );
    select(DeviceChoice::Wgpu { index: Some(index) }, Trust::Always, None).unwrap().device
}

fn assert_conforms(found: &[Measured]) {
    let outcome = compare(&measure(&Device::flex()), found);
    assert!(matches!(outcome, Outcome::Passed { .. }), "{outcome:?}");
}

#[test]
fn ndarray_computes_the_logits_cached_logits_and_gradients_of_flex() {
    assert_conforms(&measure(&ndarray()));
}

#[test]
fn software_vulkan_computes_the_logits_cached_logits_and_gradients_of_flex() {
    assert_conforms(&measure(&software_vulkan()));
}

/// Greedy, then drawn after every cut, with a penalty.
fn settings() -> [Sampling; 2] {
    let base = Sampling { max_completion_length: 12, ..Sampling::default() };
    let greedy = Sampling { temperature: 0.0, ..base.clone() };
    let cut = Sampling { temperature: 1.2, top_k: 12, top_p: 0.9, min_p: 0.01, ..base };
    [greedy, Sampling { repetition_penalty: 1.2, ..cut }]
}

fn rollouts(device: &Device) -> Vec<Rollout> {
    let stop = StopTokens(vec![36]);
    let prompts = [vec![5, 9, 3, 30, 31, 7], vec![8], vec![11, 12, 13], vec![8]];
    let mut rollouts = Vec::new();
    for (_, config) in configs() {
        let model = model(&config, device);
        for sampling in &settings() {
            let coins = Coins::new(3, 4);
            let generation = Generation { sampling, stop: &stop, coins, first_index: 0 };
            rollouts.push(block_on(generate(&model, &prompts, &generation)).unwrap());
        }
    }
    rollouts
}

fn assert_same_completions(ours: &[Rollout], theirs: &[Rollout]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.completions, theirs.completions);
        assert_eq!(ours.end_reasons, theirs.end_reasons);
        assert_close(&ours.logprobs_drawn, &theirs.logprobs_drawn);
        assert_close(&ours.logprobs_full, &theirs.logprobs_full);
    }
}

fn assert_close(ours: &[Vec<f32>], theirs: &[Vec<f32>]) {
    for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
        assert!((ours - theirs).abs() < 1e-3, "{ours} {theirs}");
    }
}

#[test]
fn ndarray_draws_the_tokens_of_flex() {
    assert_same_completions(&rollouts(&ndarray()), &rollouts(&Device::flex()));
}

#[test]
fn software_vulkan_draws_the_tokens_of_flex() {
    assert_same_completions(&rollouts(&software_vulkan()), &rollouts(&Device::flex()));
}

/// The gradient by each parameter of completions that share two prompts, of lengths that leave much padding out.
fn gradients_of_shared_prompts(device: &Device) -> Vec<Vec<f32>> {
    let objective = Supervised { aggregation: Aggregation::TokenMean };
    let completion = |row: u32| (0..1 + row * 3 % 7).map(move |place| (row * 11 + place * 5) % 37);
    let prompt =
        |row: u32| if row.is_multiple_of(3) { vec![8, 9] } else { vec![5, 9, 3, 30, 31, 7] };
    let pairs: Vec<_> = (0..8).map(|row| (prompt(row), completion(row).collect())).collect();
    let mut all = Vec::new();
    for (_, config) in configs() {
        let model = model(&config, &training_device(device, Activations::Keep));
        let gradients = learn(&model, &objective.experiences(&pairs), &objective, 8).gradients;
        let numbers = |name: &str| -> Vec<f32> {
            gradients.get(name).unwrap().into_data().convert::<f32>().try_to_vec().unwrap()
        };
        all.extend(gradients.names().map(numbers));
    }
    all
}

#[test]
fn software_vulkan_learns_from_shared_prompts_as_flex() {
    let flex = gradients_of_shared_prompts(&Device::flex());
    let vulkan = gradients_of_shared_prompts(&software_vulkan());
    assert_close(&flex, &vulkan);
    assert!(flex.iter().flatten().any(|slope| slope.abs() > 0.01));
}
