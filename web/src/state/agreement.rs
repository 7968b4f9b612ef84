//! Whether the two engines compute the same: the self-tests of every policy that both have.

use super::State;
use super::engines::{self, Engines, Phase};
use super::problem::GpuNote;
use super::turn::Turn;
use crate::event::EngineKind;

/// The largest difference of a log-probability, in nats, at which the GPU is trusted.
const MOST_DIFFERENCE: f32 = 2e-2;

/// A policy that an engine has.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// SHA-256 of its bundle.
    pub(super) sha256: String,
    /// Log-probabilities of its self-test in nats.
    pub(super) logprobs: Vec<f32>,
}

/// Refuses a GPU whose numbers are not the CPU's.
pub(super) fn compare(state: &mut State, turn: &mut Turn<'_>) {
    let Engines { cpu, gpu, .. } = &state.engines;
    if gpu.phase != Phase::Able || cpu.phase != Phase::Able {
        return;
    }
    let difference = |one: &Held| {
        let other = gpu.held.iter().find(|other| other.sha256 == one.sha256)?;
        Some(largest_difference(&one.logprobs, &other.logprobs))
    };
    // Written so that a difference that is not a number is refused.
    let disagrees = |difference: &f32| {
        let agrees = *difference <= MOST_DIFFERENCE;
        !agrees
    };
    if let Some(difference) = cpu.held.iter().filter_map(difference).find(disagrees) {
        engines::kill(state, EngineKind::Gpu, turn);
        state.engines.gpu_note = Some(GpuNote::Disagrees { difference });
    }
}

/// The largest difference in nats; not a number if one of them is not, infinite if the lengths differ or
/// there is nothing to compare.
fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    if one.len() != other.len() || one.is_empty() {
        return f32::INFINITY;
    }
    let differences = one.iter().zip(other).map(|(one, other)| (one - other).abs());
    differences.fold(0.0, |most, next| if next.is_nan() || next > most { next } else { most })
}
