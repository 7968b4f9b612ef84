//! The device that a run computes on: what was asked for, what is there, what can be trusted.
//!
//! Leaves out printing: [`Selected`] carries sentences for the caller to show. A GPU is taken only
//! after its self-test; processors that pose as GPUs are taken only where they are asked for.

mod adapters;
mod choice;
mod trust;

use std::path::Path;
use std::thread::available_parallelism;

use burn::tensor::Device;

pub use adapters::{Adapter, AdapterKind, SHADER_COMPILER, adapters};
pub use choice::{DeviceChoice, DeviceError};
pub use trust::{RESULTS_FILE, tested};

use crate::self_test::Outcome;

/// What a GPU must show before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A self-test that passes, now or earlier with the same driver.
    AfterSelfTest,
    /// Nothing: `--trust-device`.
    Always,
}

/// The device of a run.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Where tensors go.
    pub device: Device,
    /// In words: `flex (CPU, 2 threads)`.
    pub name: String,
    /// Why this one was taken, as one sentence.
    pub reason: String,
    /// What else the user should read: a device that failed, results that could not be kept.
    pub notes: Vec<String>,
}

/// Takes the device that was asked for, flex where it cannot be trusted. Outcomes of self-tests
/// are kept in `cache_dir`, so that a driver is tested once.
///
/// # Errors
/// What was asked for is not there.
pub fn select(
    choice: DeviceChoice,
    trust: Trust,
    cache_dir: Option<&Path>,
) -> Result<Selected, DeviceError> {
    let asked = format!("it was asked for with --device {choice}");
    let (adapter, reason) = match choice {
        DeviceChoice::Flex => return Ok(flex(asked)),
        DeviceChoice::Ndarray => return Ok(ndarray(asked)),
        DeviceChoice::Auto => match best_gpu(adapters()) {
            Some(adapter) => (adapter.clone(), why_best(adapter, adapters())),
            None => return Ok(flex(why_no_gpu(adapters()))),
        },
        DeviceChoice::Wgpu { index } => (asked_for(choice, index, adapters())?.clone(), asked),
        #[cfg(feature = "vulkan")]
        DeviceChoice::Vulkan => {
            let on_vulkan = adapters().iter().filter(|adapter| adapter.graphics_api == "Vulkan");
            let on_vulkan: Vec<Adapter> = on_vulkan.cloned().collect();
            (asked_for(choice, None, &on_vulkan)?.clone(), asked)
        }
    };
    Ok(unless_it_fails(&adapter, reason, (trust, cache_dir)))
}

/// The processor, through burn's own kernels.
fn flex(reason: String) -> Selected {
    Selected { device: Device::flex(), name: flex_name(), reason, notes: Vec::new() }
}

/// How flex is called, with the threads it uses.
pub fn flex_name() -> String {
    match flex_threads() {
        1 => "flex (CPU, 1 thread)".to_owned(),
        threads => format!("flex (CPU, {threads} threads)"),
    }
}

/// Threads that flex computes with: those of rayon's own pool.
pub fn flex_threads() -> usize {
    let named = std::env::var("RAYON_NUM_THREADS").ok().and_then(|number| number.parse().ok());
    let processors = || available_parallelism().map_or(1, usize::from);
    named.filter(|threads| *threads > 0).unwrap_or_else(processors)
}

/// The processor, through the older kernels that serve as an oracle.
fn ndarray(reason: String) -> Selected {
    #[expect(deprecated, reason = "kept as the oracle of flex")]
    let device = Device::ndarray();
    Selected { device, name: "ndarray (CPU, the oracle)".to_owned(), reason, notes: Vec::new() }
}

/// The adapter if it opens and can be trusted, flex otherwise.
fn unless_it_fails(
    adapter: &Adapter,
    reason: String,
    (trust, cache_dir): (Trust, Option<&Path>),
) -> Selected {
    let name = adapter.words();
    let mut notes = Vec::new();
    if adapter.is_software() {
        notes.push(format!("{name} computes on the processor: flex is faster"));
    }
    let (outcome, how) = match trust {
        Trust::Always => (adapter.open(), "without a self-test"),
        Trust::AfterSelfTest => {
            let tested = tested(adapter, cache_dir);
            notes.extend(tested.note);
            let outcome = match tested.outcome {
                Outcome::Passed { .. } => adapter.open(),
                Outcome::Failed { reason } => Err(format!(
                    "it failed its self-test: {reason}; --trust-device takes it all the same"
                )),
            };
            (outcome, "and its self-test passed")
        }
    };
    match outcome {
        Ok(device) => Selected { device, name, reason: format!("{reason}, {how}"), notes },
        Err(failure) => {
            notes.push(format!("{name} is not used: {failure}"));
            Selected { notes, ..flex(format!("{name} cannot be used")) }
        }
    }
}

/// Discrete before integrated before virtual; never software, nor what burn cannot address.
fn best_gpu(adapters: &[Adapter]) -> Option<&Adapter> {
    let gpus = adapters.iter().filter(|adapter| adapter.is_addressable() && !adapter.is_software());
    gpus.min_by_key(|adapter| (adapter.kind, adapter.index))
}

fn why_best(best: &Adapter, adapters: &[Adapter]) -> String {
    let others = adapters.iter().filter(|adapter| !adapter.is_software()).count() - 1;
    let kind = match best.kind {
        AdapterKind::Discrete => "a discrete GPU",
        AdapterKind::Integrated => "an integrated GPU",
        AdapterKind::Virtual => "a virtual GPU",
        AdapterKind::Other => "a GPU",
        AdapterKind::Software => "a processor",
    };
    match others {
        0 => format!("it is {kind}, the only one here"),
        _ => format!("it is {kind}, the best of {}", others + 1),
    }
}

fn why_no_gpu(adapters: &[Adapter]) -> String {
    match adapters.iter().find(|adapter| adapter.is_software()) {
        Some(software) => {
            format!("no GPU was found, and {} computes on the processor", software.name)
        }
        None => "no GPU was found".to_owned(),
    }
}

/// The adapter of this index; without one the best GPU, or software where there is nothing else.
fn asked_for(
    choice: DeviceChoice,
    index: Option<usize>,
    adapters: &[Adapter],
) -> Result<&Adapter, DeviceError> {
    let addressable = || adapters.iter().filter(|adapter| adapter.is_addressable());
    let found = match index {
        Some(index) => addressable().find(|adapter| adapter.index == index),
        None => best_gpu(adapters).or_else(|| addressable().next()),
    };
    found.ok_or_else(|| DeviceError::NotThere { choice, found: inventory(adapters) })
}

/// All that could be asked for, in words.
fn inventory(adapters: &[Adapter]) -> String {
    let addressable = adapters.iter().filter(|adapter| adapter.is_addressable());
    let names = addressable.map(|adapter| {
        let index = Some(adapter.index);
        format!("{} ({})", DeviceChoice::Wgpu { index }, adapter.name)
    });
    names.chain([DeviceChoice::Flex.to_string()]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use AdapterKind::{Discrete, Integrated, Other, Software, Virtual};

    fn machine(kinds: &[AdapterKind]) -> Vec<Adapter> {
        let rows = kinds.iter().enumerate();
        rows.map(|(index, kind)| Adapter::imagined(index, &format!("{kind:?}"), *kind)).collect()
    }

    #[test]
    fn auto_takes_the_best_gpu_and_never_software() {
        let check = |kinds: &[AdapterKind], expected: Option<usize>| {
            let machine = machine(kinds);
            assert_eq!(best_gpu(&machine).map(|adapter| adapter.index), expected, "{kinds:?}");
        };
        check(&[], None);
        check(&[Software], None);
        check(&[Software, Virtual], Some(1));
        check(&[Virtual, Integrated, Software], Some(1));
        check(&[Integrated, Discrete, Discrete], Some(1));
        check(&[Other], None);
    }

    #[test]
    fn what_is_asked_for_is_taken_even_if_it_is_software() {
        let check = |kinds: &[AdapterKind], index, expected: Option<usize>| {
            let machine = machine(kinds);
            let found = asked_for(DeviceChoice::Wgpu { index }, index, &machine);
            assert_eq!(found.ok().map(|adapter| adapter.index), expected, "{kinds:?}");
        };
        check(&[Software], None, Some(0));
        check(&[Software, Discrete], None, Some(1));
        check(&[Software, Discrete], Some(0), Some(0));
        check(&[Software, Discrete], Some(2), None);
        check(&[Other], Some(0), None);
        check(&[], None, None);
    }

    #[test]
    fn a_missing_device_is_named_beside_what_is_there() {
        let machine = machine(&[Discrete, Software]);
        let index = Some(3);
        let error = asked_for(DeviceChoice::Wgpu { index }, index, &machine).unwrap_err();
        let expected = "device `wgpu:3` is not there: \
            choose one of wgpu:0 (Discrete), wgpu:1 (Software), flex";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_processor_is_taken_when_it_is_asked_for() {
        let selected = select(DeviceChoice::Flex, Trust::AfterSelfTest, None).unwrap();
        assert_eq!(selected.device, Device::flex());
        assert!(selected.name.starts_with("flex (CPU, "), "{}", selected.name);
        assert_eq!(selected.reason, "it was asked for with --device flex");
    }
}
