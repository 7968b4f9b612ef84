//! What the page asks of the browser.

use kudos_schema::{Rating, Request};

use crate::event::{EngineKind, Memory, StoredRating, Timer};

/// Where the bytes of a bundle wait until engines take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// The policy at hand: its bytes stay.
    AtHand,
    /// What an adapter is laid upon; it may have been at hand before.
    Base,
    /// An adapter at hand: the base that waits stays too.
    Adapter,
    /// A policy that meets it: the next one takes its place.
    Guest,
}

/// What the page asks of the browser.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Fetch `policies/catalog.json`.
    FetchCatalog,
    /// Fetch a bundle, continue it where it was broken off, keep it, check its hash. A download under
    /// way is given up for a later one, and for a file of the visitor's own.
    Download {
        /// Address relative to the page.
        url: String,
        /// Its SHA-256.
        sha256: String,
        /// Its length.
        bytes: u64,
        /// Where its bytes wait for the engines.
        shelf: Shelf,
    },
    /// Start the worker of an engine; `Reply::Ready` follows.
    StartEngine(EngineKind),
    /// Stop the worker of an engine and free its memory.
    KillEngine(EngineKind),
    /// Send a request; a [`Request::Load`] takes the bytes of its hash with it.
    Ask(EngineKind, Request),
    /// Keep a rating, replacing the one of the same id.
    KeepRating(Box<StoredRating>),
    /// Forget ratings by id.
    ForgetRatings(Vec<String>),
    /// Keep what is to be remembered.
    Remember(Memory),
    /// Hand the visitor a file.
    SaveFile {
        /// File name.
        name: String,
        /// Its content.
        text: String,
    },
    /// Ask the collector what to rate next; `Event::QueryCame` follows.
    FetchQuery {
        /// Where the collector is.
        url: String,
        /// The rater's random id.
        rater: String,
        /// The task's name.
        task: String,
    },
    /// Post ratings to the collector.
    Post {
        /// Where.
        url: String,
        /// The ratings.
        ratings: Vec<Rating>,
    },
    /// Send an event after some milliseconds.
    After(u32, Timer),
    /// Put the keyboard focus on the element of this id, once it is drawn.
    Focus(&'static str),
    /// Say it to screen readers.
    Announce(String),
    /// Let the waiting version take over and load the page anew.
    Reload,
}
