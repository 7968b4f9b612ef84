//! A collector that tests talk to without a socket, on a database of its own.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use collector::State;
use collector::admin::token;
use collector::clock::Clock;
use collector::coins::Coins;
use collector::database::{Address, Database};
use collector::settings::Settings;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::made::{Made, policy};
use crate::postgres;

/// When tests begin, in milliseconds since 1970.
pub(crate) const BEGIN_MS: i64 = 1_795_514_400_000;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A collector.
pub(crate) struct Stand {
    pub(crate) state: State,
    pub(crate) app: Router,
    /// Its clock, in milliseconds since 1970.
    pub(crate) clock: Arc<AtomicI64>,
    /// The token of its administrator.
    pub(crate) token: String,
    /// The policy that lies with its page.
    pub(crate) policy: Made,
    pub(crate) settings: Settings,
    pub(crate) folder: Arc<TempDir>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Stand {
    /// A collector with its settings changed; none if this kind of database is left out.
    pub(crate) async fn with(kind: Kind, change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let (site, data) = (folder.path().join("site"), folder.path().join("data"));
        let policy = policy("base");
        fs::create_dir_all(site.join("policies")).unwrap();
        fs::write(site.join("index.html"), "<!doctype html><title>page</title>").unwrap();
        fs::write(site.join("page.js"), "work();\n".repeat(1000)).unwrap();
        fs::write(site.join("page_bg.wasm"), b"\0asm").unwrap();
        fs::write(site.join("policies/catalog.json"), "{}").unwrap();
        fs::write(site.join("policies/base.kudos"), &policy.bytes).unwrap();
        fs::write(folder.path().join("secret.txt"), "not served").unwrap();
        let address = match kind {
            Kind::Sqlite => Address::of(&data, None).unwrap(),
            Kind::Postgres => Address::Postgres(postgres::fresh().await?),
        };
        let mut settings = Settings::new(site, data, address);
        change(&mut settings);
        let clock = Arc::new(AtomicI64::new(BEGIN_MS));
        Some(Self::open(settings, clock, policy, folder).await)
    }

    async fn open(
        settings: Settings,
        clock: Arc<AtomicI64>,
        policy: Made,
        folder: Arc<TempDir>,
    ) -> Self {
        let now = clock.clone();
        let shown = Clock::new(move || now.load(Ordering::Relaxed));
        let state = State::open(settings.clone(), shown, Coins::seeded([3; 32])).await.unwrap();
        let database = Database::open(&settings.database).await.unwrap();
        let coins = Coins::of_this_machine().unwrap();
        let token = token::create(&database, &coins, "test", BEGIN_MS).await.unwrap();
        database.close().await;
        Self { app: collector::app(state.clone()), state, clock, token, policy, settings, folder }
    }

    /// Another collector on the same database and page, or the same one after a restart.
    pub(crate) async fn twin(&self) -> Self {
        let clock = self.clock.clone();
        Self::open(self.settings.clone(), clock, self.policy.clone(), self.folder.clone()).await
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: head.status, headers: head.headers, bytes }
    }

    /// Asks without a token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Asks for a query as the rater with this own id; `path` goes on after `/v1/queries`.
    pub(crate) async fn ask(&self, rater: &str, path: &str) -> Answer {
        let request = Request::get(format!("/v1/queries{path}"));
        let request = request.header("authorization", format!("Rater {rater}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Posts ratings, and returns the entries of the receipt.
    pub(crate) async fn post(&self, ratings: &[Value]) -> Vec<Value> {
        let answer = self.post_text(&Value::from(ratings.to_vec()).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["results"].as_array().unwrap().clone()
    }

    /// Posts a text as ratings.
    pub(crate) async fn post_text(&self, text: &str) -> Answer {
        let request = Request::post("/v1/ratings").header("content-type", "application/json");
        self.send(request.body(Body::from(text.to_owned())).unwrap()).await
    }

    /// Sends something as the administrator.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.token));
        self.send(request.body(body.into()).unwrap()).await
    }

    /// The lines of an export, and the cursor after it.
    pub(crate) async fn export(&self, asked: &str) -> (Vec<Value>, String) {
        let answer = self.admin(Method::GET, &format!("/v1/export{asked}"), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let cursor = answer.headers["kudos-cursor"].to_str().unwrap().to_owned();
        (answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(), cursor)
    }

    /// Lets time pass, or turns the clock back.
    pub(crate) fn wait(&self, milliseconds: i64) {
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Runs an asynchronous test.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// The ids of ratings, in order.
pub(crate) fn ids(ratings: &[Value]) -> Vec<String> {
    ratings.iter().map(|rating| rating["id"].as_str().unwrap().to_owned()).collect()
}

/// The statuses of the entries of a receipt.
pub(crate) fn statuses(receipt: &[Value]) -> Vec<&str> {
    receipt.iter().map(|entry| entry["status"].as_str().unwrap()).collect()
}

/// Each law as a test on SQLite and as one on PostgreSQL. A law is an asynchronous function of a [`Stand`].
macro_rules! laws {
    ($($(#[$doc:meta])* $name:ident $(with $change:ident)?;)*) => {
        mod on_sqlite {
            $(#[test] fn $name() {
                $crate::stand::laws!(@run $crate::stand::Kind::Sqlite, super::$name $(, super::$change)?);
            })*
        }
        mod on_postgres {
            $(#[test] fn $name() {
                $crate::stand::laws!(@run $crate::stand::Kind::Postgres, super::$name $(, super::$change)?);
            })*
        }
    };
    (@run $kind:expr, $law:path) => {
        $crate::stand::laws!(@run $kind, $law, |_| {})
    };
    (@run $kind:expr, $law:path, $change:expr) => {
        $crate::stand::block_on(async {
            if let Some(stand) = $crate::stand::Stand::with($kind, $change).await {
                $law(&stand).await;
                stand.state.close().await;
            }
        })
    };
}
pub(crate) use laws;
