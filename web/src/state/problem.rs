//! What can go wrong, and whether trying again helps.

use kudos_schema::FailureKind;

use crate::event::{DownloadError, Setting};

/// What went wrong last; the view says it in a sentence with a remedy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Problem {
    /// The list of policies did not come.
    Catalog(DownloadError),
    /// The list has no policy in it.
    NoPolicies,
    /// The policy did not come.
    Download(DownloadError),
    /// The policy needs more memory than the engine can have.
    TooLarge {
        /// Bytes.
        needed: u64,
        /// Bytes.
        offered: u64,
    },
    /// The CPU engine could not take or run the policy.
    Engine {
        /// What kind of thing.
        cause: FailureKind,
        /// The engine's words.
        detail: String,
    },
    /// The CPU engine does not start, or died twice.
    EngineDied {
        /// The browser's words.
        detail: String,
    },
    /// A completion could not be written.
    Writing {
        /// What kind of thing.
        cause: FailureKind,
        /// The engine's words.
        detail: String,
    },
    /// There is nothing to write about.
    EmptyPrompt,
    /// The task is about a picture, and nothing is drawn.
    NoPicture,
    /// The file is no picture that the browser knows.
    NotAPicture,
    /// A setting cannot be used.
    Setting(Setting),
    /// The rating would not be accepted anywhere.
    Unratable {
        /// What is wrong with it.
        detail: String,
    },
    /// The browser did not keep a rating.
    Storage {
        /// The browser's words.
        detail: String,
    },
}

/// What trying again does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Fetch the list.
    Catalog,
    /// Fetch the policy.
    Download,
    /// Start the CPU engine.
    Engine,
    /// Write again.
    Write,
}

/// Why the GPU is not used, although it was or could be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GpuNote {
    /// The browser has no WebGPU.
    NoWebgpu,
    /// There is no adapter.
    NoAdapter,
    /// Its numbers are not the CPU's.
    Disagrees {
        /// Largest difference of a log-probability in nats.
        difference: f32,
    },
    /// It was lost; the CPU goes on.
    Lost,
    /// It ran out of memory.
    OutOfMemory,
    /// Its engine failed otherwise.
    Failed {
        /// In the engine's or the browser's words.
        detail: String,
    },
}

impl Problem {
    /// What trying again does, where it can help.
    pub(crate) fn retry(&self) -> Option<Retry> {
        match self {
            Self::Catalog(_) | Self::NoPolicies => Some(Retry::Catalog),
            Self::Download(_) => Some(Retry::Download),
            Self::Engine { cause, .. } => match cause {
                FailureKind::WrongBundle | FailureKind::WrongHash => Some(Retry::Download),
                FailureKind::NoAdapter
                | FailureKind::PromptTooLong
                | FailureKind::OutOfMemory
                | FailureKind::DeviceLost
                | FailureKind::Defect => Some(Retry::Engine),
            },
            Self::EngineDied { .. } => Some(Retry::Engine),
            Self::Writing { cause, .. } => match cause {
                FailureKind::PromptTooLong => None,
                FailureKind::NoAdapter
                | FailureKind::WrongBundle
                | FailureKind::WrongHash
                | FailureKind::OutOfMemory
                | FailureKind::DeviceLost
                | FailureKind::Defect => Some(Retry::Write),
            },
            Self::TooLarge { .. }
            | Self::EmptyPrompt
            | Self::NoPicture
            | Self::NotAPicture
            | Self::Setting(_)
            | Self::Unratable { .. }
            | Self::Storage { .. } => None,
        }
    }

    /// The words of the engine or the browser, for whoever reports a defect.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Engine { detail, .. }
            | Self::EngineDied { detail }
            | Self::Writing { detail, .. }
            | Self::Unratable { detail }
            | Self::Storage { detail } => {
                Some(detail).filter(|detail| !detail.is_empty()).map(String::as_str)
            }
            Self::Catalog(_)
            | Self::NoPolicies
            | Self::Download(_)
            | Self::TooLarge { .. }
            | Self::EmptyPrompt
            | Self::NoPicture
            | Self::NotAPicture
            | Self::Setting(_) => None,
        }
    }
}

impl GpuNote {
    /// The note for a failure of the GPU engine.
    pub(crate) fn of(cause: FailureKind, detail: String) -> Self {
        match cause {
            FailureKind::NoAdapter => Self::NoAdapter,
            FailureKind::DeviceLost => Self::Lost,
            FailureKind::OutOfMemory => Self::OutOfMemory,
            FailureKind::WrongBundle
            | FailureKind::WrongHash
            | FailureKind::PromptTooLong
            | FailureKind::Defect => Self::Failed { detail },
        }
    }
}
