//! Pieces of bundles in Cache Storage, so that a broken download goes on where it stopped and the next
//! visit needs no network. The catalog lies beside them for visits without one.

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Cache, CacheStorage, Request, Response, Url};

use super::screen::{document, window};
use super::waiting::settled;
use kudos_page::ranges::piece;

/// The cache; the service worker leaves it alone.
const CACHE: &str = "kudos-bundles";
/// Below this, relative to the page, lie the pieces: names only, no server has them.
const FOLDER: &str = "kudos-bundles/";

/// What is kept of bundles. Several pages of one host share the cache; each touches only its own.
#[derive(Clone)]
pub(crate) struct Pieces {
    cache: Cache,
}

impl Pieces {
    /// The cache, where the browser has one: not in private windows of some, not on insecure pages.
    pub(crate) async fn open() -> Option<Self> {
        // A page without the interface has no such property at all, which the typed call would not see.
        let caches =
            Reflect::get(&window(), &"caches".into()).ok()?.dyn_into::<CacheStorage>().ok()?;
        let cache = settled(caches.open(CACHE)).await.ok()?;
        Some(Self { cache: cache.unchecked_into() })
    }

    /// Piece `index` of the bundle, if it is there and as long as it must be.
    pub(crate) async fn read(&self, sha256: &str, index: u64, total: u64) -> Option<Uint8Array> {
        let (begin, end) = piece(index, total)?;
        let found = settled(self.cache.match_with_str(&address(sha256, index))).await.ok()?;
        let response = found.dyn_into::<Response>().ok()?;
        let bytes = settled(response.array_buffer().ok()?).await.ok()?;
        let bytes = Uint8Array::new(&bytes);
        (u64::from(bytes.length()) == end - begin).then_some(bytes)
    }

    /// Keeps piece `index` of the bundle.
    ///
    /// # Errors
    /// The storage is full, or refused.
    pub(crate) async fn keep(
        &self,
        sha256: &str,
        index: u64,
        bytes: &Uint8Array,
    ) -> Result<(), JsValue> {
        let response = Response::new_with_opt_js_u8_array(Some(bytes))?;
        settled(self.cache.put_with_str(&address(sha256, index), &response)).await.map(drop)
    }

    /// Throws away the pieces of the bundle.
    pub(crate) async fn forget(&self, sha256: &str) {
        self.forget_where(|folder| folder == sha256).await;
    }

    /// Throws away the pieces of all bundles but those of these hashes.
    pub(crate) async fn forget_others(&self, wanted: &[String]) {
        self.forget_where(|folder| !wanted.iter().any(|sha256| sha256 == folder)).await;
    }

    async fn forget_where(&self, unwanted: impl Fn(&str) -> bool) {
        let Ok(keys) = settled(self.cache.keys()).await else { return };
        let own = absolute(FOLDER);
        for key in Array::from(&keys) {
            let url = key.unchecked_into::<Request>().url();
            let folder = url.strip_prefix(&own).and_then(|rest| rest.split('/').next());
            if folder.is_some_and(&unwanted) {
                drop(settled(self.cache.delete_with_str(&url)).await);
            }
        }
    }

    /// Keeps the answer from this address, for visits without a network.
    pub(crate) async fn keep_answer(&self, url: &str, answer: &Response) {
        // Without it the next visit needs a network: nothing to tell the visitor now.
        drop(settled(self.cache.put_with_str(&absolute(url), answer)).await);
    }

    /// The answer kept for this address.
    pub(crate) async fn answer(&self, url: &str) -> Option<Response> {
        settled(self.cache.match_with_str(&absolute(url))).await.ok()?.dyn_into().ok()
    }
}

fn address(sha256: &str, index: u64) -> String {
    absolute(&format!("{FOLDER}{sha256}/{index}"))
}

/// The whole address of one that is relative to the page.
fn absolute(url: &str) -> String {
    let base = document().base_uri().ok().flatten().unwrap_or_default();
    Url::new_with_base(url, &base).map_or_else(|_| url.to_owned(), |url| url.href())
}
