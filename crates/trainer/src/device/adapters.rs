//! The graphics adapters that burn can open: the only file of the trainer that names wgpu.
//!
//! The list is that of the first graphics API that has a GPU; failing that, of the first that has
//! any adapter. burn addresses an adapter by API, type and place among those of its type; what it
//! opened is held against what was listed. OpenGL is left out: a driver with the compute shaders
//! that burn needs offers one of the others.

use std::sync::{Mutex, OnceLock, PoisonError};

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind};
use pollster::block_on;
use serde::{Deserialize, Serialize};

/// How shaders reach the driver in this build.
pub const SHADER_COMPILER: &str = if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" };

/// Names of drivers that compute on the processor, whatever type they report.
const SOFTWARE: [&str; 6] =
    ["llvmpipe", "lavapipe", "softpipe", "swiftshader", "basic render driver", "warp"];

/// One adapter, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Adapter {
    /// Its place in the list, as `--device` names it.
    pub index: usize,
    /// The name that the driver gives it.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// The graphics API it is reached through.
    pub graphics_api: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, in its own words.
    pub driver_info: String,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Largest part of a buffer that a kernel sees, in bytes: no tensor can be larger.
    pub max_binding_bytes: u64,
    /// Most invocations of a workgroup.
    pub max_workgroup_invocations: u32,
    /// Smallest and largest subgroup, where it has subgroups.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// How burn addresses it; none for those it has no name for.
    #[serde(skip)]
    address: Option<Address>,
}

/// What kind of hardware an adapter is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU lent by the host of a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// The processor itself, posing as a GPU.
    Software,
}

#[derive(Debug, Clone, PartialEq)]
struct Address {
    api: WgpuBackend,
    kind: DeviceKind,
    /// What the opened adapter must say of itself.
    info: wgpu::AdapterInfo,
}

/// The adapters of this machine, asked for once a process: drivers do not like to be asked by
/// several threads.
pub fn adapters() -> &'static [Adapter] {
    static ADAPTERS: OnceLock<Vec<Adapter>> = OnceLock::new();
    ADAPTERS.get_or_init(|| described(&settle()))
}

impl Adapter {
    /// Whether it computes on the processor.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }

    /// Whether burn can open it.
    pub fn is_addressable(&self) -> bool {
        self.address.is_some()
    }

    /// In words: name, graphics API, driver.
    pub fn words(&self) -> String {
        let Self { name, graphics_api, driver, driver_info, .. } = self;
        let version = if driver_info.is_empty() { "of unknown version" } else { driver_info };
        let driver = if driver.is_empty() { "driver" } else { driver };
        format!("wgpu: {name} ({graphics_api}, {driver} {version})")
    }

    /// The device on it; opened once a process, which is all that burn allows.
    ///
    /// # Errors
    /// The driver refuses, or another adapter came up in its place.
    pub fn open(&self) -> Result<Device, String> {
        static OPENED: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, device)) = opened.iter().find(|(index, _)| *index == self.index) {
            return Ok(device.clone());
        }
        let address = self.address.clone().ok_or("burn has no name for this adapter")?;
        let options = Device::wgpu_options().graphics_api(address.api).device_kind(address.kind);
        let (device, setup) = options.init_with_setup().map_err(|error| error.to_string())?;
        let info = setup.adapter.get_info();
        if !is_same_card(&info, &address.info) {
            return Err(format!("`{}` was opened in its place", info.name));
        }
        opened.push((self.index, device.clone()));
        Ok(device)
    }
}

/// The adapters of the first graphics API that has a GPU; failing that, of the first that has any.
fn settle() -> Vec<wgpu::Adapter> {
    let mut software = Vec::new();
    let chain: &[wgpu::Backend] = if cfg!(target_os = "macos") {
        &[wgpu::Backend::Metal]
    } else {
        &[wgpu::Backend::Vulkan, wgpu::Backend::Dx12]
    };
    for api in chain {
        let found = probe(*api);
        if found.iter().any(|adapter| adapter.get_info().device_type != wgpu::DeviceType::Cpu) {
            return found;
        }
        if software.is_empty() {
            software = found;
        }
    }
    software
}

fn probe(api: wgpu::Backend) -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: api.into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    block_on(instance.enumerate_adapters(api.into()))
}

fn described(adapters: &[wgpu::Adapter]) -> Vec<Adapter> {
    let infos: Vec<wgpu::AdapterInfo> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let types: Vec<wgpu::DeviceType> = infos.iter().map(|info| info.device_type).collect();
    let rows = infos.into_iter().zip(adapters).zip(kinds(&types)).enumerate();
    rows.filter_map(|(index, ((info, adapter), kind))| {
        let (api, graphics_api) = graphics_api(info.backend)?;
        let limits = adapter.limits();
        let subgroups = adapter.features().contains(wgpu::Features::SUBGROUP);
        Some(Adapter {
            index,
            name: info.name.clone(),
            kind: adapter_kind(&info),
            graphics_api: graphics_api.to_owned(),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            subgroup_sizes: subgroups.then_some([info.subgroup_min_size, info.subgroup_max_size]),
            address: kind.map(|kind| Address { api, kind, info }),
        })
    })
    .collect()
}

/// How burn addresses each adapter of a list: every type counts from zero, software has one place.
fn kinds(types: &[wgpu::DeviceType]) -> Vec<Option<DeviceKind>> {
    let place = |index: usize| types[..index].iter().filter(|kind| **kind == types[index]).count();
    let kind = |(index, kind): (usize, &wgpu::DeviceType)| match (kind, place(index)) {
        (wgpu::DeviceType::DiscreteGpu, place) => Some(DeviceKind::DiscreteGpu(place)),
        (wgpu::DeviceType::IntegratedGpu, place) => Some(DeviceKind::IntegratedGpu(place)),
        (wgpu::DeviceType::VirtualGpu, place) => Some(DeviceKind::VirtualGpu(place)),
        (wgpu::DeviceType::Cpu, 0) => Some(DeviceKind::Cpu),
        (wgpu::DeviceType::Cpu | wgpu::DeviceType::Other, _) => None,
    };
    types.iter().enumerate().map(kind).collect()
}

fn adapter_kind(info: &wgpu::AdapterInfo) -> AdapterKind {
    let names = format!("{} {}", info.name, info.driver).to_lowercase();
    if SOFTWARE.iter().any(|software| names.contains(software)) {
        return AdapterKind::Software;
    }
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    }
}

fn is_same_card(one: &wgpu::AdapterInfo, other: &wgpu::AdapterInfo) -> bool {
    let card = |info: &wgpu::AdapterInfo| (info.vendor, info.device, info.backend);
    let place = |info: &wgpu::AdapterInfo| (info.name.clone(), info.device_pci_bus_id.clone());
    card(one) == card(other) && place(one) == place(other)
}

/// How burn and people call an API; none for those left out.
fn graphics_api(backend: wgpu::Backend) -> Option<(WgpuBackend, &'static str)> {
    match backend {
        wgpu::Backend::Vulkan => Some((WgpuBackend::Vulkan, "Vulkan")),
        wgpu::Backend::Metal => Some((WgpuBackend::Metal, "Metal")),
        wgpu::Backend::Dx12 => Some((WgpuBackend::Dx12, "DirectX 12")),
        wgpu::Backend::Gl | wgpu::Backend::BrowserWebGpu | wgpu::Backend::Noop => None,
    }
}

#[cfg(test)]
impl Adapter {
    /// An adapter that no driver needs to have.
    pub(crate) fn imagined(index: usize, name: &str, kind: AdapterKind) -> Self {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Vulkan);
        let address =
            Address { api: WgpuBackend::Vulkan, kind: DeviceKind::DiscreteGpu(index), info };
        Self {
            index,
            name: name.to_owned(),
            kind,
            graphics_api: "Vulkan".to_owned(),
            driver: "driver".to_owned(),
            driver_info: "1.0".to_owned(),
            max_buffer_bytes: 1 << 31,
            max_binding_bytes: 1 << 30,
            max_workgroup_invocations: 256,
            subgroup_sizes: Some([32, 32]),
            address: (kind != AdapterKind::Other).then_some(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_counts_from_zero() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let types = [IntegratedGpu, DiscreteGpu, Cpu, DiscreteGpu, Other, Cpu, VirtualGpu];
        let expected = [
            Some(DeviceKind::IntegratedGpu(0)),
            Some(DeviceKind::DiscreteGpu(0)),
            Some(DeviceKind::Cpu),
            Some(DeviceKind::DiscreteGpu(1)),
            None,
            None,
            Some(DeviceKind::VirtualGpu(0)),
        ];
        assert_eq!(kinds(&types), expected);
    }

    #[test]
    fn software_is_known_by_its_type_or_its_name() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, Other, VirtualGpu};
        let check = |reported, name: &str, driver: &str, expected| {
            let (name, driver) = (name.to_owned(), driver.to_owned());
            let info = wgpu::AdapterInfo::new(reported, wgpu::Backend::Vulkan);
            let info = wgpu::AdapterInfo { name, driver, ..info };
            assert_eq!(adapter_kind(&info), expected, "{info:?}");
        };
        check(Cpu, "a new software driver", "", AdapterKind::Software);
        check(Other, "llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe", AdapterKind::Software);
        check(VirtualGpu, "SwiftShader Device (Subzero)", "", AdapterKind::Software);
        check(DiscreteGpu, "Microsoft Basic Render Driver", "", AdapterKind::Software);
        check(DiscreteGpu, "NVIDIA H100", "NVIDIA", AdapterKind::Discrete);
        check(VirtualGpu, "Virtio-GPU Venus", "venus", AdapterKind::Virtual);
    }
}
