//! `trainer devices`: what could compute here, and what of it can be trusted.
//!
//! Leaves out printing: a table for people, a record for programs.

use std::path::Path;

use burn::tensor::{DType, Device};
use serde::Serialize;

use crate::device::{
    Adapter, DeviceChoice, SHADER_COMPILER, adapters, flex_name, flex_threads, tested,
};
use crate::self_test::{Outcome, quietly};

/// All devices of this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceList {
    /// GPUs and processors that pose as such.
    pub adapters: Vec<AdapterRow>,
    /// Ways to compute on the processor.
    pub processors: Vec<ProcessorRow>,
}

/// One adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterRow {
    /// What `--device` takes for it.
    pub device: String,
    /// As its driver describes it.
    #[serde(flatten)]
    pub adapter: Adapter,
    /// The language that its kernels are compiled to.
    pub shader_compiler: &'static str,
    /// Types of floating-point numbers it computes in.
    pub float_types: Vec<&'static str>,
    /// How its self-test ended; none where it cannot be opened.
    pub self_test: Option<Outcome>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One way to compute on the processor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessorRow {
    /// What `--device` takes for it.
    pub device: String,
    /// In words.
    pub name: String,
    /// Threads it computes with.
    pub threads: usize,
    /// Types of floating-point numbers it computes in.
    pub float_types: Vec<&'static str>,
}

/// Looks at every device. A driver that was not tested before is tested now, which takes seconds on
/// a GPU and up to a minute on a processor that poses as one.
pub fn list(cache_dir: Option<&Path>) -> DeviceList {
    DeviceList {
        adapters: adapters().iter().map(|adapter| adapter_row(adapter, cache_dir)).collect(),
        processors: processors(),
    }
}

fn adapter_row(adapter: &Adapter, cache_dir: Option<&Path>) -> AdapterRow {
    let index = Some(adapter.index);
    let mut row = AdapterRow {
        device: DeviceChoice::Wgpu { index }.to_string(),
        adapter: adapter.clone(),
        shader_compiler: SHADER_COMPILER,
        float_types: Vec::new(),
        self_test: None,
        note: None,
    };
    if adapter.is_addressable() {
        let tested = tested(adapter, cache_dir);
        // A device that does not come up panics when it is asked; the self-test says why.
        let types = quietly(|| adapter.open().map(|device| float_types(&device)));
        row.float_types = types.and_then(|types| types).unwrap_or_default();
        (row.self_test, row.note) = (Some(tested.outcome), tested.note);
    } else {
        row.note = Some("it cannot be opened: burn has no name for it".to_owned());
    }
    row
}

fn processors() -> Vec<ProcessorRow> {
    #[expect(deprecated, reason = "kept as the oracle of flex")]
    let ndarray = Device::ndarray();
    let row = |choice: DeviceChoice, name, threads, device: &Device| ProcessorRow {
        device: choice.to_string(),
        name,
        threads,
        float_types: float_types(device),
    };
    let oracle = "ndarray (CPU, the oracle)".to_owned();
    vec![
        row(DeviceChoice::Flex, flex_name(), flex_threads(), &Device::flex()),
        row(DeviceChoice::Ndarray, oracle, 1, &ndarray),
    ]
}

fn float_types(device: &Device) -> Vec<&'static str> {
    let types = [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];
    let supported = types.into_iter().filter(|(_, dtype)| device.supports_dtype(*dtype));
    supported.map(|(name, _)| name).collect()
}

impl DeviceList {
    /// The table that people read: a paragraph for each device.
    pub fn table(&self) -> String {
        let adapters = self.adapters.iter().map(AdapterRow::paragraph);
        let processors = self.processors.iter().map(ProcessorRow::paragraph);
        let none = "no graphics adapter was found\n".to_owned();
        let none = self.adapters.is_empty().then_some(none);
        none.into_iter().chain(adapters).chain(processors).collect::<Vec<_>>().join("\n")
    }
}

impl AdapterRow {
    fn paragraph(&self) -> String {
        let Adapter { name, kind, graphics_api, driver, driver_info, .. } = &self.adapter;
        let kind = format!("{kind:?}").to_lowercase();
        let subgroups = match self.adapter.subgroup_sizes {
            Some([smallest, largest]) if smallest == largest => format!("subgroups of {largest}"),
            Some([smallest, largest]) => format!("subgroups of {smallest} to {largest}"),
            None => "no subgroups".to_owned(),
        };
        let limits = format!(
            "buffer {}, binding {}, workgroup {}, {subgroups}",
            size(self.adapter.max_buffer_bytes),
            size(self.adapter.max_binding_bytes),
            self.adapter.max_workgroup_invocations,
        );
        let mut lines = vec![
            ("type", kind),
            ("driver", format!("{driver} {driver_info}").trim().to_owned()),
            ("reached by", format!("{graphics_api}, shaders in {}", self.shader_compiler)),
            ("limits", limits),
            ("float types", self.float_types.join(", ")),
            ("self-test", self.self_test.as_ref().map_or("not run".to_owned(), in_words)),
        ];
        lines.extend(self.note.clone().map(|note| ("note", note)));
        paragraph(&self.device, name, &lines)
    }
}

impl ProcessorRow {
    fn paragraph(&self) -> String {
        paragraph(&self.device, &self.name, &[("float types", self.float_types.join(", "))])
    }
}

fn paragraph(device: &str, name: &str, lines: &[(&str, String)]) -> String {
    let lines = lines.iter().map(|(label, text)| format!("  {label:<12}{text}\n"));
    format!("{device:<10}{name}\n{}", lines.collect::<String>())
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed { logits, cached_logits, gradients } => format!(
            "passed; differences from flex: logits {logits:.0e}, cached logits {cached_logits:.0e}, \
             gradients {gradients:.0e}"
        ),
        Outcome::Failed { reason } => format!("FAILED: {reason}"),
    }
}

/// In the largest binary unit of which there is at least one.
fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.0} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::AdapterKind;

    fn row(name: &str, outcome: Option<Outcome>) -> AdapterRow {
        AdapterRow {
            device: "wgpu:0".to_owned(),
            adapter: Adapter::imagined(0, name, AdapterKind::Discrete),
            shader_compiler: "WGSL",
            float_types: vec!["f32", "f16"],
            self_test: outcome,
            note: None,
        }
    }

    #[test]
    fn a_paragraph_says_what_the_device_is_and_whether_it_can_be_trusted() {
        let passed = Outcome::Passed { logits: 3e-8, cached_logits: 2e-8, gradients: 4e-9 };
        let expected = "\
wgpu:0    NVIDIA H100
  type        discrete
  driver      driver 1.0
  reached by  Vulkan, shaders in WGSL
  limits      buffer 2 GiB, binding 1 GiB, workgroup 256, subgroups of 32
  float types f32, f16
  self-test   passed; differences from flex: logits 3e-8, cached logits 2e-8, gradients 4e-9
";
        assert_eq!(row("NVIDIA H100", Some(passed)).paragraph(), expected);
        let failed = Outcome::Failed { reason: "it panicked".to_owned() };
        assert!(row("GPU", Some(failed)).paragraph().contains("FAILED: it panicked\n"));
    }

    #[test]
    fn the_processor_is_always_in_the_list() {
        let list = DeviceList { adapters: Vec::new(), processors: processors() };
        let table = list.table();
        assert!(table.starts_with("no graphics adapter was found\n\nflex "), "{table}");
        assert!(table.contains("\nndarray "), "{table}");
        assert!(list.processors.iter().all(|row| row.float_types.contains(&"f32")));
    }

    #[test]
    fn the_record_has_the_fields_that_programs_read() {
        let list = DeviceList { adapters: vec![row("GPU", None)], processors: processors() };
        let json = serde_json::to_value(&list).unwrap();
        let adapter = &json["adapters"][0];
        assert_eq!(adapter["device"], "wgpu:0");
        assert_eq!(adapter["name"], "GPU");
        assert_eq!(adapter["kind"], "discrete");
        assert_eq!(adapter["max_binding_bytes"], 1 << 30);
        assert_eq!(adapter["float_types"][1], "f16");
        assert!(adapter["self_test"].is_null());
        assert_eq!(json["processors"][0]["device"], "flex");
    }

    #[test]
    fn sizes_are_given_in_the_largest_fitting_unit() {
        let cases = [(12, "12 B"), (128 << 20, "128 MiB"), ((1 << 31) - 4, "2 GiB")];
        let cases = cases.into_iter().chain([(u64::MAX, "16777216 TiB")]);
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }
}
