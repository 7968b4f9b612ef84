//! The device as it is typed: `auto`, `flex`, `ndarray`, `wgpu`, `wgpu:1`, `vulkan`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The best GPU that passes its self-test, else the processor.
    #[default]
    Auto,
    /// The processor.
    Flex,
    /// The processor, through the older kernels that serve as an oracle.
    Ndarray,
    /// A GPU, or a processor that poses as one.
    Wgpu {
        /// Its place in the list of `trainer devices`; none for the best.
        index: Option<usize>,
    },
    /// As the one before, on Vulkan or not at all.
    #[cfg(feature = "vulkan")]
    Vulkan,
}

/// A device that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error("device `{value}` is unknown: choose one of auto, flex, ndarray, wgpu, wgpu:0, vulkan")]
    Unknown {
        /// What was typed.
        value: String,
    },
    /// The SPIR-V compiler is not in this build.
    #[error(
        "device `vulkan` is not in this build: build with `--features vulkan`, \
         or choose `wgpu`, which reaches the same GPU"
    )]
    NoVulkan,
    /// This machine does not have it.
    #[error("device `{choice}` is not there: choose one of {found}")]
    NotThere {
        /// What was asked for.
        choice: DeviceChoice,
        /// What there is.
        found: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(value: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { value: value.to_owned() };
        match value {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::Ndarray),
            "wgpu" => Ok(Self::Wgpu { index: None }),
            #[cfg(feature = "vulkan")]
            "vulkan" => Ok(Self::Vulkan),
            #[cfg(not(feature = "vulkan"))]
            "vulkan" => Err(DeviceError::NoVulkan),
            other => {
                let index = other.strip_prefix("wgpu:").and_then(|index| index.parse().ok());
                index.map(|index| Self::Wgpu { index: Some(index) }).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Flex => f.write_str("flex"),
            Self::Ndarray => f.write_str("ndarray"),
            Self::Wgpu { index: None } => f.write_str("wgpu"),
            Self::Wgpu { index: Some(index) } => write!(f, "wgpu:{index}"),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => f.write_str("vulkan"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(value: String) -> Result<Self, DeviceError> {
        value.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_as_it_is_written() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<DeviceChoice>(), Ok(expected));
            assert_eq!(expected.to_string(), text);
            let json = serde_json::to_string(&expected).unwrap();
            assert_eq!(serde_json::from_str::<DeviceChoice>(&json).unwrap(), expected);
        };
        check("auto", DeviceChoice::Auto);
        check("flex", DeviceChoice::Flex);
        check("ndarray", DeviceChoice::Ndarray);
        check("wgpu", DeviceChoice::Wgpu { index: None });
        check("wgpu:1", DeviceChoice::Wgpu { index: Some(1) });
        #[cfg(feature = "vulkan")]
        check("vulkan", DeviceChoice::Vulkan);
    }

    #[test]
    fn an_unknown_choice_is_named_with_the_valid_ones() {
        for value in ["cuda", "", "wgpu:", "wgpu:-1", "wgpu:x", "Flex"] {
            let error = value.parse::<DeviceChoice>().unwrap_err().to_string();
            let expected = format!(
                "device `{value}` is unknown: \
                 choose one of auto, flex, ndarray, wgpu, wgpu:0, vulkan"
            );
            assert_eq!(error, expected);
        }
    }

    #[cfg(not(feature = "vulkan"))]
    #[test]
    fn vulkan_says_how_to_build_it() {
        let error = "vulkan".parse::<DeviceChoice>().unwrap_err();
        assert!(error.to_string().contains("--features vulkan"), "{error}");
    }
}
