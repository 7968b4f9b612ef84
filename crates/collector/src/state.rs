//! What all requests share.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use crate::admin::guard::Guard;
use crate::clock::Clock;
use crate::coins::Coins;
use crate::database::writer::Writer;
use crate::database::{Database, DatabaseError};
use crate::limits::Limiter;
use crate::metrics::Metrics;
use crate::policy::publish::{PublishError, publish, read_bundle};
use crate::policy::shelf::Shelf;
use crate::query::board::Boards;
use crate::seal::Seal;
use crate::settings::Settings;
use crate::site::{Site, SiteError};
use crate::stats::StatsCache;
use crate::trust::TrustCache;

/// Exports that run at once.
const EXPORTS: usize = 4;

/// A collector: everything but its sockets.
#[derive(Debug, Clone)]
pub struct State(Arc<Parts>);

/// What a [`State`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// What the operator decided.
    pub settings: Settings,
    /// Where the time comes from.
    pub clock: Clock,
    /// Where chance comes from.
    pub coins: Coins,
    /// Where the choice of what is asked comes from.
    pub(crate) query_coins: Coins,
    pub(crate) database: Database,
    pub(crate) writer: Writer,
    pub(crate) seal: Seal,
    pub(crate) site: Site,
    pub(crate) shelf: Shelf,
    pub(crate) guard: Guard,
    pub(crate) metrics: Metrics,
    pub(crate) boards: Boards,
    pub(crate) stats: StatsCache,
    pub(crate) trust: TrustCache,
    pub(crate) address_limit: Limiter,
    pub(crate) request_limit: Limiter,
    pub(crate) rater_limit: Limiter,
    pub(crate) exports: Arc<tokio::sync::Semaphore>,
    stopping: AtomicBool,
}

/// Why a collector does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The page is not there.
    #[error("{0}")]
    Site(#[from] SiteError),
    /// The database does not work.
    #[error("{0}")]
    Database(#[from] DatabaseError),
    /// A bundle of the site is none.
    #[error("{file}: {error}")]
    Bundle {
        /// The file.
        file: String,
        /// What is wrong.
        error: PublishError,
    },
    /// The data folder cannot be used.
    #[error("{folder} cannot be used ({error}): create it, and let this user write there")]
    Folder {
        /// The folder.
        folder: String,
        /// What is wrong.
        error: std::io::Error,
    },
}

impl State {
    /// Opens the database, reads the page, and publishes the bundles that lie with it.
    ///
    /// # Errors
    /// Something of that cannot be done.
    pub async fn open(settings: Settings, clock: Clock, coins: Coins) -> Result<Self, StartError> {
        let bundles = settings.data.join("bundles");
        fs::create_dir_all(&bundles)
            .map_err(|error| StartError::Folder { folder: bundles.display().to_string(), error })?;
        let site = Site::read(&settings.site)?;
        let database = Database::open(&settings.database).await?;
        publish_of_site(&database, &settings.site).await?;
        let seal = database.seal(coins.bytes()).await?;
        Ok(Self(Arc::new(Parts {
            writer: Writer::start(database.clone()),
            shelf: Shelf::new(database.clone(), bundles),
            guard: Guard::new(coins.bytes()),
            address_limit: Limiter::new(settings.address_rate),
            request_limit: Limiter::new(settings.request_rate),
            rater_limit: Limiter::new(settings.rater_rate),
            exports: Arc::new(tokio::sync::Semaphore::new(EXPORTS)),
            metrics: Metrics::default(),
            boards: Boards::default(),
            stats: StatsCache::default(),
            trust: TrustCache::default(),
            query_coins: match settings.query_seed {
                Some(number) => Coins::numbered(number),
                None => Coins::seeded(coins.bytes()),
            },
            stopping: AtomicBool::new(false),
            settings,
            clock,
            coins,
            database,
            seal,
            site,
        })))
    }

    /// Says that no further requests should come; `/readyz` tells whoever distributes them.
    pub fn announce_stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// Stores what was handed in, and closes the database.
    pub async fn close(&self) {
        self.announce_stop();
        self.0.writer.stop().await;
        self.0.database.close().await;
    }
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Publishes the bundles of `SITE/policies`; the first by name is the one that visitors get.
async fn publish_of_site(database: &Database, site: &Path) -> Result<(), StartError> {
    let Ok(entries) = fs::read_dir(site.join("policies")) else { return Ok(()) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "kudos"));
    files.sort();
    for file in files.iter().rev() {
        let wrong = |error| StartError::Bundle { file: file.display().to_string(), error };
        let bundle = match read_bundle(file) {
            // Pages without a collector offer adapters; a collector asks of whole policies.
            Err(PublishError::Adapter(_)) => continue,
            read => read.map_err(wrong)?,
        };
        publish(database, &bundle).await.map_err(wrong)?;
    }
    Ok(())
}
