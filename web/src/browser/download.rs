//! One download: what is kept first, then the network, piece by piece, with retries; the hash over
//! everything at the end.

use js_sys::{Array, ArrayBuffer, Function, Reflect, Uint8Array};
use kudos_page::event::{DownloadError, DownloadEvent, Event, Shelf};
use kudos_schema::hexadecimal;
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    AbortSignal, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit, Response,
};

use super::page::Page;
use super::pieces::Pieces;
use super::screen::window;
use super::surroundings::now_ms;
use super::waiting::{settled, sleep};
use kudos_page::ranges::{Answer, pause_ms, piece, read_answer};

/// Progress is told at most once in so many milliseconds.
const TELL_MS: f64 = 60.0;
/// Bytes copied into wasm memory at once to be hashed.
const HASH_BYTES: u32 = 1 << 18;

/// What is to be fetched.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Address relative to the page.
    pub(crate) url: String,
    /// Its SHA-256.
    pub(crate) sha256: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// Which of the downloads it is.
pub(crate) struct Course {
    /// Number of what was begun.
    pub(crate) turn: u32,
    /// Where the bytes will wait.
    pub(crate) shelf: Shelf,
    /// Aborts what is being fetched.
    pub(crate) signal: Option<AbortSignal>,
}

/// What is told of the download to this shelf.
pub(crate) fn told(shelf: Shelf, event: DownloadEvent) -> Event {
    match shelf {
        Shelf::AtHand | Shelf::Base | Shelf::Adapter => Event::Download(event),
        Shelf::Guest => Event::GuestDownload(event),
    }
}

/// A download under way.
pub(crate) struct Transfer {
    page: Page,
    wanted: Wanted,
    course: Course,
    pieces: Option<Pieces>,
    /// Room for all bytes.
    buffer: Uint8Array,
    /// Bytes that are there.
    here: u64,
    /// Pieces that are kept.
    kept: u64,
    hash: Sha256,
    told_ms: f64,
}

/// Why an attempt ended.
enum Trouble {
    /// The connection broke or there is none.
    Broken,
    /// The server asks to come again later.
    Busy(u16),
    /// The server says no.
    Refused(u16),
    /// What is there is not what is wanted.
    Mismatch,
    /// Something else was begun.
    Superseded,
}

impl Transfer {
    /// Makes room for the bytes.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(crate) fn begin(page: &Page, wanted: Wanted, course: Course) -> Result<Self, JsValue> {
        // The typed constructor cannot tell of a failure; this call can.
        let class = Reflect::get(&js_sys::global(), &"Uint8Array".into())?;
        let length = Array::of1(&JsValue::from_f64(wanted.bytes as f64));
        let room = Reflect::construct(class.unchecked_ref::<Function>(), &length)?;
        Ok(Self {
            page: page.clone(),
            wanted,
            course,
            pieces: None,
            buffer: room.unchecked_into(),
            here: 0,
            kept: 0,
            hash: Sha256::new(),
            told_ms: 0.0,
        })
    }

    /// Runs to the end: the last event, with the bytes if it went well; none if something else was begun.
    pub(crate) async fn run(mut self) -> Option<(DownloadEvent, Option<ArrayBuffer>)> {
        self.pieces = Pieces::open().await;
        self.read_kept().await;
        let mut result = self.fetch_and_check().await;
        if matches!(result, Err(Trouble::Mismatch)) {
            self.start_over();
            self.tell(DownloadEvent::Healing);
            self.forget().await;
            result = self.fetch_and_check().await;
        }
        let failed = |error| Some((DownloadEvent::Failed(error), None));
        match result {
            Ok(()) => Some((DownloadEvent::Done, Some(self.buffer.buffer()))),
            Err(Trouble::Broken) => failed(DownloadError::Network),
            Err(Trouble::Busy(status) | Trouble::Refused(status)) => {
                failed(DownloadError::Status(status))
            }
            Err(Trouble::Mismatch) => {
                self.forget().await;
                failed(DownloadError::WrongHash)
            }
            Err(Trouble::Superseded) => None,
        }
    }

    async fn read_kept(&mut self) {
        let Some(pieces) = self.pieces.clone() else { return };
        while let Some(bytes) = pieces.read(&self.wanted.sha256, self.kept, self.wanted.bytes).await
        {
            if !self.is_current() {
                return;
            }
            self.take(&bytes);
            self.kept += 1;
            self.tell_progress();
        }
    }

    async fn fetch_and_check(&mut self) -> Result<(), Trouble> {
        self.fetch_all().await?;
        let found = hexadecimal(&self.hash.clone().finalize());
        if found == self.wanted.sha256 { Ok(()) } else { Err(Trouble::Mismatch) }
    }

    async fn fetch_all(&mut self) -> Result<(), Trouble> {
        let mut failures = 0;
        while self.here < self.wanted.bytes {
            if !self.is_current() {
                return Err(Trouble::Superseded);
            }
            let before = self.here;
            let trouble = match self.fetch_on().await {
                Ok(()) => continue,
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Broken | Trouble::Busy(_) => {}
                Trouble::Refused(_) | Trouble::Mismatch | Trouble::Superseded => {
                    return Err(trouble);
                }
            }
            failures = if self.here > before { 1 } else { failures + 1 };
            let Some(pause) = pause_ms(failures) else { return Err(trouble) };
            self.tell(DownloadEvent::Retrying { attempt: failures + 1 });
            sleep(pause).await;
        }
        self.tell(DownloadEvent::Progress { bytes: self.here });
        Ok(())
    }

    /// One attempt: asks for what is missing and takes what comes.
    async fn fetch_on(&mut self) -> Result<(), Trouble> {
        let answer = self.ask().await;
        let response = answer.map_err(|_| self.or_superseded(Trouble::Broken))?;
        let content_range = response.headers().get("content-range").ok().flatten();
        match read_answer(response.status(), content_range.as_deref(), self.here) {
            Answer::Continues => {}
            Answer::FromStart => self.start_over(),
            Answer::Mismatch => return Err(Trouble::Mismatch),
            Answer::Busy => return Err(Trouble::Busy(response.status())),
            Answer::Refused => return Err(Trouble::Refused(response.status())),
        }
        let Some(body) = response.body() else { return Err(Trouble::Broken) };
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        loop {
            let next = settled(reader.read()).await;
            let next = next.map_err(|_| self.or_superseded(Trouble::Broken))?;
            if !self.is_current() {
                return Err(Trouble::Superseded);
            }
            let Some(chunk) = chunk_of(&next) else { break };
            if self.here + u64::from(chunk.length()) > self.wanted.bytes {
                drop(settled(reader.cancel()).await);
                return Err(Trouble::Mismatch);
            }
            self.take(&chunk);
            self.keep_full_pieces().await;
            self.tell_progress();
        }
        // An end before the end is a broken connection that some servers do not call so.
        if self.here < self.wanted.bytes { Err(Trouble::Broken) } else { Ok(()) }
    }

    async fn ask(&self) -> Result<Response, JsValue> {
        let headers = Headers::new()?;
        if self.here > 0 {
            headers.set("range", &format!("bytes={}-", self.here))?;
        }
        let options = RequestInit::new();
        options.set_headers(&headers);
        // Pieces are kept here already: the browser's own cache would keep all of it twice, and might give back what
        // is damaged.
        options.set_cache(RequestCache::NoStore);
        options.set_signal(self.course.signal.as_ref());
        let asked = window().fetch_with_str_and_init(&self.wanted.url, &options);
        settled(asked).await?.dyn_into()
    }

    fn take(&mut self, chunk: &Uint8Array) {
        self.buffer.set(chunk, self.here as u32);
        for begin in (0..chunk.length()).step_by(HASH_BYTES as usize) {
            let end = chunk.length().min(begin + HASH_BYTES);
            self.hash.update(chunk.subarray(begin, end).to_vec());
        }
        self.here += u64::from(chunk.length());
    }

    async fn keep_full_pieces(&mut self) {
        while let Some((begin, end)) = piece(self.kept, self.wanted.bytes)
            && end <= self.here
            && let Some(pieces) = &self.pieces
        {
            let bytes = self.buffer.subarray(begin as u32, end as u32);
            if pieces.keep(&self.wanted.sha256, self.kept, &bytes).await.is_err() {
                // The storage is full: this visit goes on from memory.
                self.pieces = None;
            }
            self.kept += 1;
        }
    }

    fn start_over(&mut self) {
        self.here = 0;
        self.kept = 0;
        self.hash = Sha256::new();
    }

    async fn forget(&self) {
        if let Some(pieces) = &self.pieces {
            pieces.forget(&self.wanted.sha256).await;
        }
    }

    fn or_superseded(&self, trouble: Trouble) -> Trouble {
        if self.is_current() { trouble } else { Trouble::Superseded }
    }

    fn is_current(&self) -> bool {
        self.page.bundles().is_current(self.course.turn)
    }

    fn tell_progress(&mut self) {
        let now = now_ms();
        if now - self.told_ms >= TELL_MS {
            self.told_ms = now;
            self.tell(DownloadEvent::Progress { bytes: self.here });
        }
    }

    fn tell(&self, event: DownloadEvent) {
        if self.is_current() {
            self.page.send(told(self.course.shelf, event));
        }
    }
}

/// The bytes of one read from a stream; none at its end.
fn chunk_of(read: &JsValue) -> Option<Uint8Array> {
    Reflect::get(read, &"value".into()).ok()?.dyn_into().ok()
}
