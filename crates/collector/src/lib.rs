//! The collector: serves the page and its policies, takes ratings, keeps them, and exports them.
//!
//! A collector is a value: [`State`] is everything but its sockets, and [`app`] the answers to requests. It needs no model
//! and no tensors: what only weights can tell is the trainer's to check.
//!
//! | request | who | what |
//! |---|---|---|
//! | `POST /v1/ratings` | all | a list of at most 100 `schema::Rating`; the answer is a `Receipt` |
//! | `GET /v1/queries?task=` | all | a `Query` for whom `authorization: Rater UUID` names, or 204 where there is nothing to ask |
//! | `POST /v1/erase` | all | `EraseRequest`: the rater's own id erases what is theirs |
//! | `GET /v1/policies`, `GET /v1/stats` | all | `PolicyList`, `CollectorStats` |
//! | `GET /policies/catalog.json`, `GET /policies/{sha256}.kudos` | all | what visitors load, with ranges |
//! | `GET /stats`, `GET /`, ... | all | the counts for people; the page |
//! | `GET /healthz`, `/readyz`, `/metrics` | all | for whoever watches |
//! | `GET /v1/export?format=&since=&quarantined=&flagged=` | token | JSON lines; the header `kudos-cursor` |
//! | `GET /v1/erasures?since=` | token | JSON lines of `Erasure` |
//! | `POST /v1/checks` | token | a `CheckReport` of the trainer |
//! | `PUT`, `DELETE /v1/policies/{sha256}` | token | publishes the bundle in the body; retires |
//! | `PUT /v1/queries/pool`, `/uncertainty`, `/settings` | token | `PoolItem` and `PromptUncertainty` lines, `QuerySettings` |
//! | `GET /v1/raters` | token | a `RaterList` with agreement on gold and repeats |
//! | `PUT`, `DELETE /v1/raters/{rater}/quarantine` | token | leaves out of exports; takes that back |
//! | `DELETE /v1/raters/{rater}`, `DELETE /v1/ratings/{id}` | token | erases |
//! | `GET`, `POST /moderation` | token as password | where reported texts wait |
//!
//! What is wrong is answered with `{"error": "a sentence with the remedy"}`.

pub mod admin;
pub mod args;
pub mod clock;
pub mod coins;
pub mod database;
pub mod limits;
pub mod load;
pub mod output;
pub mod plan;
pub mod problem;
pub mod retention;
pub mod seal;
pub mod serve;
pub mod settings;
pub mod site;
pub mod state;
pub mod usage;

mod app;
mod export;
mod files;
mod headers;
mod intake;
mod metrics;
mod origin;
mod pages;
mod patient;
mod policy;
mod query;
mod run;
mod sender;
mod stats;
mod strengths;
mod taken;
mod trust;

pub use app::app;
pub use database::copy;
pub use policy::publish::PublishError;
pub use run::run;
pub use state::State;
