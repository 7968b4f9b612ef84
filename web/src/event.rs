//! What happens to the page.
//!
//! The page is a pure function: `update(state, event, surroundings) -> effects` and `view(state) ->
//! node`. Everything impure (workers, network, storage, clock, dice) stands behind [`Effect`] and comes
//! back as [`Event`].

use kudos_schema::{
    AdapterInfo, Catalog, ExportShape, PairChoice, Picture, Query, Rating, Reply, Thumb,
};
use serde::{Deserialize, Serialize};

pub use crate::effect::{Effect, Shelf};

/// What an update may use of the outer world, made anew for each event.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// Milliseconds since 1970.
    pub now_ms: f64,
    /// The same moment as RFC 3339 in UTC.
    pub now: String,
    /// Fresh random bytes: for ids, seeds and the order of a pair.
    pub random: [u8; 48],
}

/// Which of the two engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// `flex` with SIMD: everywhere.
    Cpu,
    /// WebGPU, where there is an adapter.
    Gpu,
}

/// Which engine the visitor wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// The faster one that agrees with the CPU.
    #[default]
    Measured,
    /// The CPU.
    Cpu,
    /// The GPU, if its numbers agree.
    Gpu,
}

/// Languages of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Locale {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// Simplified Chinese.
    #[serde(rename = "zh")]
    Chinese,
}

/// How completions are rated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Two completions, side by side.
    #[default]
    Pair,
    /// One completion: thumbs, stars, edit.
    Single,
}

/// Whether single keys do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortcuts {
    /// They do.
    #[default]
    On,
    /// They do not: some people's software types in the place of keys.
    Off,
}

/// What is remembered between visits, beside the ratings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The visitor's random id; empty before the first visit.
    pub rater: String,
    /// Version of the consent text that was agreed to; empty before.
    pub consent: String,
    /// The chosen language; none = the browser's.
    pub locale: Option<Locale>,
    /// The chosen engine.
    pub engine: EngineChoice,
    /// How to rate.
    pub mode: Mode,
    /// Whether tokens are colored by probability.
    pub colored: bool,
    /// Whether single keys do something; WCAG 2.1.4 asks for a way to turn them off.
    pub shortcuts: Shortcuts,
}

/// A rating as it is kept in the browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRating {
    /// The rating.
    pub rating: Rating,
    /// Whether the collector has it; then it cannot be changed any more.
    pub sent: bool,
}

/// What the browser told at the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Opening {
    /// What was remembered.
    pub memory: Memory,
    /// Ratings kept, oldest first.
    pub ratings: Vec<StoredRating>,
    /// The language that the browser prefers, as in BCP 47.
    pub browser_locale: String,
    /// Whether the browser has WebGPU at all.
    pub has_webgpu: bool,
    /// The adapter that the browser hands out, as far as the page itself could ask before any engine
    /// runs; it decides whether a policy fits the GPU before it is downloaded. None = not known.
    pub adapter: Option<AdapterInfo>,
    /// Whether storage works; in some private windows it does not.
    pub storage: StorageState,
}

/// Whether ratings survive the tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageState {
    /// They do.
    #[default]
    Kept,
    /// The browser refused: they live as long as the tab.
    Refused,
}

/// What happened to a download.
#[derive(Debug, Clone, PartialEq)]
pub enum DownloadEvent {
    /// Bytes there so far, those kept from before included.
    Progress {
        /// Bytes.
        bytes: u64,
    },
    /// The connection broke; another attempt follows.
    Retrying {
        /// Number of the coming attempt, from 2.
        attempt: u32,
    },
    /// What was kept did not have the right hash; it was thrown away and is fetched anew.
    Healing,
    /// The bytes are there and have the right hash.
    Done,
    /// It did not work.
    Failed(DownloadError),
}

/// Why a download failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadError {
    /// No network, or the server does not answer.
    Network,
    /// The server answers with an error.
    Status(u16),
    /// The bytes have another hash, also when fetched anew.
    WrongHash,
}

/// Why the collector's query did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryError {
    /// No network, or an answer that is an error.
    Unreachable,
    /// What it answers is no query that this page knows.
    Unreadable,
}

/// Why a post to the collector failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostError {
    /// No network, or an answer that asks to come again later.
    Later,
    /// The collector refused the ratings of these ids, for the reason.
    Refused(Vec<(String, String)>),
}

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The page is up.
    Opened(Box<Opening>),
    /// The list of policies came, or did not.
    CatalogCame(Result<Catalog, DownloadError>),
    /// The download of the chosen bundle went on.
    Download(DownloadEvent),
    /// The download of a guest went on.
    GuestDownload(DownloadEvent),
    /// The visitor chose a bundle from their disk; its bytes wait with the browser side.
    OwnBundle {
        /// File name.
        name: String,
        /// Length in bytes.
        bytes: u64,
    },
    /// An engine said something.
    Engine(EngineKind, Box<Reply>),
    /// An engine's file did not load, or its worker died.
    EngineDied(EngineKind, String),
    /// A timer of [`Effect::After`] ran out.
    Timer(Timer),
    /// The browser is online or not.
    Online(bool),
    /// A rating was written to storage, or storage refused it.
    Stored(Result<(), String>),
    /// What the collector asks, or that it asks nothing.
    QueryCame(Result<Option<Box<Query>>, QueryError>),
    /// Ratings arrived at the collector.
    Posted(Result<Vec<String>, PostError>),
    /// A new version of the page waits.
    UpdateWaits,

    /// The visitor chose a policy of the catalog.
    PolicyChosen(usize),
    /// The visitor tries again what failed.
    RetryPressed,
    /// The visitor chose a task by its name.
    TaskChosen(String),
    /// The prompt was typed.
    PromptTyped(String),
    /// A prompt of the bundle was picked.
    PromptPicked(String),
    /// The pen touched the picture, moved or was lifted.
    PenMoved(PenMove),
    /// The pen has another color, by its place among those offered.
    ColorChosen(usize),
    /// A picture came from the visitor's disk, scaled; or the file was none.
    PictureCame(Option<Picture>),
    /// The picture is to be blank again.
    PictureCleared,
    /// Another of the bundle's prompts is wanted.
    AnotherPrompt,
    /// The conversation starts anew.
    NewConversation,
    /// The collector shall say what to rate.
    QueryWanted,
    /// Write.
    WritePressed,
    /// Stop writing.
    StopPressed,
    /// Rate pairs or single texts.
    ModeChosen(Mode),
    /// A sampling setting was changed.
    SettingTyped(Setting, String),

    /// Consent to what is collected.
    ConsentGiven,
    /// The consent question was put away; nothing is rated.
    ConsentRefused,
    /// The verdict on a pair.
    PairJudged(PairChoice),
    /// A thumb for the text at hand.
    Thumbed(Thumb),
    /// Stars for the text at hand.
    Starred(u8),
    /// Edit the text at hand.
    EditOpened,
    /// The edited text so far.
    EditTyped(String),
    /// The edit is done.
    EditSaved,
    /// The edit is given up.
    EditClosed,
    /// A reason was picked or dropped.
    ReasonToggled(&'static str),
    /// The remark was typed.
    RemarkTyped(String),
    /// A text is reported, or no longer.
    ReportToggled(usize),
    /// Take the last rating back.
    UndoPressed,
    /// Say nothing of these texts.
    SkipPressed,

    /// Color tokens by probability, or no longer.
    ColorToggled,
    /// Look at a token: which sample, which of its tokens.
    TokenChosen(usize, usize),
    /// Put the token panel away.
    TokenClosed,
    /// Go on from the chosen place with this token instead.
    Branched(u32),

    /// Open a panel, or close it.
    PanelToggled(Panel),
    /// Save the ratings as a file.
    ExportPressed(ExportShape),
    /// Send the ratings now.
    SendPressed,
    /// Forget who rates: a new random id.
    RaterReset,
    /// Delete all ratings of this browser.
    RatingsDeleted,
    /// Use this language.
    LocaleChosen(Locale),
    /// Use this engine.
    EngineChosen(EngineChoice),
    /// Load the new version of the page.
    UpdateAccepted,
    /// Single keys do something, or no longer.
    ShortcutsToggled,
    /// A key was pressed outside of a text field, by its `KeyboardEvent.key`.
    Key(String),
}

/// What a pen did over a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PenMove {
    /// From the left edge, 1 = the right one.
    pub x: f64,
    /// From the upper edge, 1 = the lower one.
    pub y: f64,
    /// What it does there.
    pub pen: Pen,
}

/// Whether a pen draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pen {
    /// It touches the picture: a line begins.
    Down,
    /// It moves: the line goes on, if one has begun.
    Moves,
    /// It is lifted.
    Up,
}

/// Panels that open and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panel {
    /// Sampling and engine.
    Settings,
    /// Ratings: counter, export, preview, deletion.
    Ratings,
    /// Keys and what this page is.
    Help,
}

/// Sampling settings that the visitor can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// 0 = greedy.
    Temperature,
    /// 0 = all.
    TopK,
    /// 1 = all.
    TopP,
    /// Longest completion in tokens.
    Length,
    /// Seed of the coins; empty = a fresh one each time.
    Seed,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Try to send again.
    Send,
}
