//! What stays in this browser: ratings and what is remembered, in IndexedDB.

use std::cell::Cell;

use js_sys::{Array, Function, Object, Promise, Reflect};
use kudos_page::event::{Event, Memory, StoredRating};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    IdbDatabase, IdbObjectStore, IdbOpenDbRequest, IdbRequest, IdbTransaction, StorageManager,
};

use super::page::Page;
use super::screen::window;
use super::trouble::words;
use super::waiting::{settled, settled_within};

const DATABASE: &str = "kudos";
const VERSION: u32 = 1;
const RATINGS: &str = "ratings";
const MEMORY: &str = "memory";
/// The only key of the store `memory`.
const MEMORY_KEY: &str = "memory";
/// Some browsers leave the question open where they refuse.
const OPEN_LIMIT_MS: i32 = 3000;

/// The database, where the browser has one for this page.
pub(crate) struct Storage {
    database: Option<IdbDatabase>,
    /// Whether the browser was asked not to clear it.
    asked_to_persist: Cell<bool>,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What was remembered.
    pub(crate) memory: Memory,
    /// Ratings, oldest first: their ids begin with the time.
    pub(crate) ratings: Vec<StoredRating>,
}

impl Storage {
    /// Opens the database and reads it; without one, everything lives as long as the tab.
    pub(crate) async fn open() -> (Self, Option<Found>) {
        let opened = match open_database().await {
            Ok(database) => read(&database).await.map(|found| (database, found)),
            Err(error) => Err(error),
        };
        let (database, found) = match opened {
            Ok((database, found)) => (Some(database), Some(found)),
            Err(error) => {
                web_sys::console::warn_2(&"nothing is kept:".into(), &words(&error).into());
                (None, None)
            }
        };
        (Self { database, asked_to_persist: Cell::new(false) }, found)
    }

    /// Keeps a rating; [`Event::Stored`] follows when it is on the disk.
    pub(crate) fn keep_rating(&self, page: &Page, rating: &StoredRating) {
        let json = serde_json::to_string(rating).expect("a rating is JSON");
        let done = self.change(RATINGS, |store| {
            store.put_with_key(&JsValue::from_str(&json), &JsValue::from_str(&rating.rating.id))?;
            Ok(())
        });
        self.ask_to_persist();
        report(page, done);
    }

    /// Forgets ratings.
    pub(crate) fn forget_ratings(&self, page: &Page, ids: &[String]) {
        if self.database.is_none() {
            return;
        }
        let done = self.change(RATINGS, |store| {
            ids.iter().try_for_each(|id| store.delete(&JsValue::from_str(id)).map(drop))
        });
        report(page, done);
    }

    /// Remembers; whether that works, the visitor is told by the first rating.
    pub(crate) fn remember(&self, memory: &Memory) {
        let json = serde_json::to_string(memory).expect("a memory is JSON");
        let done = self.change(MEMORY, |store| {
            store.put_with_key(&JsValue::from_str(&json), &JsValue::from_str(MEMORY_KEY))?;
            Ok(())
        });
        drop(done);
    }

    /// Changes a store in one transaction; the promise comes true when it is on the disk.
    fn change(
        &self,
        store: &str,
        work: impl FnOnce(&IdbObjectStore) -> Result<(), JsValue>,
    ) -> Result<Promise, JsValue> {
        let database = self.database.as_ref();
        let database =
            database.ok_or_else(|| JsValue::from_str("the browser keeps nothing here"))?;
        let transaction = durable_transaction(database, store)?;
        let done = completed(&transaction);
        work(&transaction.object_store(store)?)?;
        Ok(done)
    }

    fn ask_to_persist(&self) {
        if self.asked_to_persist.replace(true) {
            return;
        }
        let manager = Reflect::get(&window().navigator(), &"storage".into()).unwrap_or_default();
        if let Ok(manager) = manager.dyn_into::<StorageManager>()
            && let Ok(asked) = manager.persist()
        {
            // A no means that the browser may clear it when the disk is full; ratings can be exported.
            spawn_local(async move { drop(settled(asked).await) });
        }
    }
}

fn report(page: &Page, done: Result<Promise, JsValue>) {
    let page = page.clone();
    spawn_local(async move {
        let stored = match done {
            Ok(done) => settled(done).await.map(drop),
            Err(error) => Err(error),
        };
        page.send(Event::Stored(stored.map_err(|error| words(&error))));
    });
}

async fn open_database() -> Result<IdbDatabase, JsValue> {
    let missing = || JsValue::from_str("this browser has no IndexedDB");
    let request = window().indexed_db()?.ok_or_else(missing)?.open_with_u32(DATABASE, VERSION)?;
    let upgrading: IdbOpenDbRequest = request.clone();
    let upgrade = Closure::once_into_js(move || -> Result<(), JsValue> {
        let database: IdbDatabase = upgrading.result()?.unchecked_into();
        database.create_object_store(RATINGS)?;
        database.create_object_store(MEMORY)?;
        Ok(())
    });
    request.set_onupgradeneeded(Some(upgrade.unchecked_ref()));
    Ok(settled_within(answered(&request), OPEN_LIMIT_MS).await?.unchecked_into())
}

async fn read(database: &IdbDatabase) -> Result<Found, JsValue> {
    let transaction = database.transaction_with_str_sequence(&Array::of2(
        &JsValue::from_str(RATINGS),
        &JsValue::from_str(MEMORY),
    ))?;
    let ratings = answered(&transaction.object_store(RATINGS)?.get_all()?);
    let memory = transaction.object_store(MEMORY)?.get(&JsValue::from_str(MEMORY_KEY))?;
    let memory = answered(&memory);
    let ratings = Array::from(&settled(ratings).await?);
    // What a later version wrote stays where it is.
    let ratings = ratings.iter().filter_map(|rating| parsed(&rating)).collect();
    Ok(Found { memory: parsed(&settled(memory).await?).unwrap_or_default(), ratings })
}

fn parsed<T: serde::de::DeserializeOwned>(json: &JsValue) -> Option<T> {
    serde_json::from_str(&json.as_string()?).ok()
}

/// A transaction that is done only when the disk has it, where the browser can promise that.
fn durable_transaction(database: &IdbDatabase, store: &str) -> Result<IdbTransaction, JsValue> {
    let options = Object::new();
    Reflect::set(&options, &"durability".into(), &"strict".into())?;
    // The typed call with options is still called unstable; browsers that know none ignore the third.
    let call: Function = Reflect::get(database, &"transaction".into())?.dyn_into()?;
    let arguments = Array::of3(&store.into(), &"readwrite".into(), &options);
    Reflect::apply(&call, database, &arguments)?.dyn_into()
}

/// The result of a request.
fn answered(request: &IdbRequest) -> Promise {
    Promise::new(&mut |resolve: Function, reject: Function| {
        let asked = request.clone();
        let answer = Closure::once_into_js(move || {
            let (callback, value) = match (asked.result(), asked.error()) {
                (_, Ok(Some(error))) => (&reject, JsValue::from(error)),
                (Ok(value), _) => (&resolve, value),
                (Err(error), _) => (&reject, error),
            };
            drop(callback.call1(&JsValue::NULL, &value));
        });
        request.set_onsuccess(Some(answer.unchecked_ref()));
        request.set_onerror(Some(answer.unchecked_ref()));
    })
}

/// Comes true when the transaction is done; rejected when it was given up.
fn completed(transaction: &IdbTransaction) -> Promise {
    Promise::new(&mut |resolve: Function, reject: Function| {
        transaction.set_oncomplete(Some(&resolve));
        let asked = transaction.clone();
        let aborted = Closure::once_into_js(move || {
            let error = asked.error().map_or(JsValue::from_str("given up"), JsValue::from);
            drop(reject.call1(&JsValue::NULL, &error));
        });
        transaction.set_onabort(Some(aborted.unchecked_ref()));
    })
}
