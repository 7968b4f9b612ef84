//! What queries are chosen from: prompts with how often they were rated, gold items, policies and their meetings.
//!
//! Read from the database every few seconds, and counted on in between, so that many raters at once spread out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kudos_schema::{Meeting, Message, PoolItem, PoolPrompt, QuerySettings};

use crate::database::Result;
use crate::database::pool::KeptItem;
use crate::intake::facts::prompt_hash;
use crate::policy::shelf::Listed;
use crate::state::State;
use crate::stats::meetings;

/// How long a board is used, in milliseconds.
const FRESH_MS: i64 = 15_000;
/// Prompts whose coverage is read.
const MOST_PROMPTS: i64 = 100_000;

/// The board of the moment.
#[derive(Debug, Default)]
pub(crate) struct Boards {
    current: tokio::sync::Mutex<Option<(i64, Arc<Board>)>>,
}

/// Everything that a choice depends on, but the rater.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Shares of reasons.
    pub(crate) settings: QuerySettings,
    /// Prompts to ask about.
    pub(crate) prompts: Vec<Asked>,
    /// Items whose answer is known.
    pub(crate) gold: Vec<PoolItem>,
    /// Published policies, the newest first.
    pub(crate) policies: Vec<Arena>,
    /// What was said where two met.
    pub(crate) meetings: Vec<Meeting>,
    /// Times that each prompt was asked about since the board was made.
    pub(crate) asked_since: Mutex<HashMap<usize, u64>>,
}

/// A prompt, with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The task.
    pub(crate) task: String,
    /// What policies are given.
    pub(crate) prompt: PoolPrompt,
    /// How far the reward models disagree; 0 if nobody said.
    pub(crate) uncertainty: f64,
    /// Ratings of it.
    pub(crate) ratings: u64,
    /// When the last came, in milliseconds since 1970; 0 without one.
    pub(crate) last_ms: i64,
}

/// A policy that can be asked to write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arena {
    /// The policy.
    pub(crate) policy: Listed,
    /// Hash of its tokenizer and template: those who have the same read the same tokens.
    pub(crate) reads: String,
}

impl Boards {
    /// The board of the moment.
    pub(crate) async fn current(&self, state: &State) -> Result<Arc<Board>> {
        let mut current = self.current.lock().await;
        let now_ms = state.clock.now_ms();
        if let Some((made_ms, board)) = &*current
            && (0..FRESH_MS).contains(&(now_ms - made_ms))
        {
            return Ok(board.clone());
        }
        let board = Arc::new(Board::read(state, now_ms).await?);
        *current = Some((now_ms, board.clone()));
        Ok(board)
    }

    /// Forgets the board, since something of it was changed here.
    pub(crate) async fn changed(&self) {
        *self.current.lock().await = None;
    }
}

impl Board {
    async fn read(state: &State, now_ms: i64) -> Result<Self> {
        let database = &state.database;
        let published = state.shelf.published(now_ms).await?;
        let mut prompts = Vec::new();
        let mut gold = Vec::new();
        for kept in database.pool_items().await? {
            let KeptItem { said, uncertainty, record, .. } = kept;
            let item: PoolItem = serde_json::from_str(&record)?;
            match said.as_str() {
                "" => prompts.push(Asked::new(item.task, item.prompt, uncertainty)),
                _ => gold.push(item),
            }
        }
        if prompts.is_empty() {
            prompts = prompts_of_manifests(&published);
        }
        let coverage = database.coverage(MOST_PROMPTS).await?;
        let coverage: HashMap<_, _> =
            coverage.into_iter().map(|it| (it.prompt, (it.ratings, it.last))).collect();
        for asked in &mut prompts {
            let hash = prompt_hash(&asked.task, &asked.prompt.messages, &asked.prompt.text);
            if let Some((ratings, last)) = coverage.get(&hash) {
                (asked.ratings, asked.last_ms) = (ratings.unsigned_abs(), *last);
            }
        }
        let policies = published.into_iter().map(|policy| Arena { reads: reads(&policy), policy });
        Ok(Self {
            settings: database.query_settings().await?,
            prompts,
            gold,
            policies: policies.collect(),
            meetings: meetings(&database.tallies().await?),
            asked_since: Mutex::default(),
        })
    }

    /// Ratings of a prompt, those that are on their way too.
    pub(crate) fn ratings_of(&self, place: usize) -> u64 {
        let since = self.asked_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.prompts[place].ratings + since.get(&place).copied().unwrap_or(0)
    }

    /// A prompt was asked about.
    pub(crate) fn count(&self, place: usize) {
        let mut since = self.asked_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since.entry(place).or_default() += 1;
    }
}

impl Asked {
    fn new(task: String, prompt: PoolPrompt, uncertainty: f64) -> Self {
        Self { task, prompt, uncertainty, ratings: 0, last_ms: 0 }
    }
}

/// The prompts that policies bring along, each once.
fn prompts_of_manifests(policies: &[Listed]) -> Vec<Asked> {
    let mut prompts: Vec<Asked> = Vec::new();
    for policy in policies {
        for (task, texts) in &policy.manifest.prompts {
            for text in texts {
                let prompt = manifest_prompt(task, text);
                if !prompts.iter().any(|other| other.task == *task && other.prompt == prompt) {
                    prompts.push(Asked::new(task.clone(), prompt, 0.0));
                }
            }
        }
    }
    prompts
}

/// A manifest's prompt as the page gives it to a policy: the task as the system's message and the prompt as the
/// user's; of the task `sentences`, text to continue.
fn manifest_prompt(task: &str, text: &str) -> PoolPrompt {
    if task == "sentences" {
        return PoolPrompt { text: text.trim_end().to_owned(), ..PoolPrompt::default() };
    }
    let messages = vec![Message::new("system", task), Message::new("user", text.trim())];
    PoolPrompt { messages, ..PoolPrompt::default() }
}

/// What a policy reads a prompt with: two with the same see the same tokens.
fn reads(policy: &Listed) -> String {
    let tokenizer = policy.manifest.parts.iter().find(|part| part.name == "tokenizer.json");
    let turns = serde_json::to_string(&policy.manifest.turns).expect("a template is JSON");
    format!("{} {turns}", tokenizer.map_or("", |part| part.sha256.as_str()))
}
