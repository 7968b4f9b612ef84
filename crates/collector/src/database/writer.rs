//! The one task that stores ratings: what waits is written in one transaction, and so shares one wait for the disk.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::insert::{NewRating, Stored, count_refusals, insert};
use super::{Database, DatabaseError, Result};

/// Batches that may wait; more posts wait with their answer until there is room.
const QUEUE: usize = 256;
/// Ratings of one transaction, after which no further batch is added.
const GROUP: usize = 400;

/// Where ratings are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Writer(mpsc::Sender<Message>);

/// What the task is told.
#[derive(Debug)]
enum Message {
    Store(Job),
    Stop(oneshot::Sender<()>),
}

/// What one post wants to be stored.
#[derive(Debug)]
struct Job {
    ratings: Vec<NewRating>,
    refusals: Vec<&'static str>,
    answer: oneshot::Sender<Result<Vec<Stored>>>,
}

impl Writer {
    /// Starts the task; it ends with the last writer, or at [`Self::stop`].
    pub(crate) fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(database, receiver));
        Self(sender)
    }

    /// Ends the task; returns once everything that was handed in before is stored.
    pub(crate) async fn stop(&self) {
        let (stopped, stop) = oneshot::channel();
        if self.0.send(Message::Stop(stopped)).await.is_ok() {
            drop(stop.await);
        }
    }

    /// Stores ratings, and counts the causes of those refused; returns once they are on the disk.
    ///
    /// # Errors
    /// The database does not work: nothing of this was stored.
    pub(crate) async fn store(
        &self,
        ratings: Vec<NewRating>,
        refusals: Vec<&'static str>,
    ) -> Result<Vec<Stored>> {
        let (answer, stored) = oneshot::channel();
        let job = Job { ratings, refusals, answer };
        self.0.send(Message::Store(job)).await.map_err(|_| DatabaseError::Stopping)?;
        stored.await.map_err(|_| DatabaseError::Stopping)?
    }
}

async fn write(database: Database, mut waiting: mpsc::Receiver<Message>) {
    while let Some(Message::Store(first)) = waiting.recv().await {
        let mut ratings = first.ratings.len();
        let mut group = vec![first];
        let mut stopped = None;
        while ratings < GROUP && stopped.is_none() {
            match waiting.try_recv() {
                Ok(Message::Store(job)) => {
                    ratings += job.ratings.len();
                    group.push(job);
                }
                Ok(Message::Stop(sender)) => stopped = Some(sender),
                Err(_) => break,
            }
        }
        store_all(&database, group).await;
        if stopped.is_some() {
            return;
        }
    }
}

async fn store_all(database: &Database, group: Vec<Job>) {
    match store(database, &group).await {
        Ok(outcomes) => answer(group, outcomes),
        // Perhaps it is the fault of one: the others do not suffer for it. Without a connection it is not.
        Err(DatabaseError::Sql(sqlx::Error::Database(_))) if group.len() > 1 => {
            for job in group {
                let outcome = store(database, std::slice::from_ref(&job)).await;
                drop(job.answer.send(outcome));
            }
        }
        Err(error) => group.into_iter().for_each(|job| {
            drop(job.answer.send(Err(DatabaseError::Unwritten(error.to_string()))));
        }),
    }
}

async fn store(database: &Database, group: &[Job]) -> Result<Vec<Stored>> {
    let ratings: Vec<&NewRating> = group.iter().flat_map(|job| &job.ratings).collect();
    let mut causes = BTreeMap::new();
    for cause in group.iter().flat_map(|job| &job.refusals) {
        *causes.entry(*cause).or_insert(0_i64) += 1;
    }
    let (mut transaction, first) = database.begin(ratings.len()).await?;
    let outcomes = insert(&mut transaction, first, &ratings).await?;
    count_refusals(&mut transaction, &causes.into_iter().collect::<Vec<_>>()).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

fn answer(group: Vec<Job>, outcomes: Vec<Stored>) {
    let mut outcomes = outcomes.into_iter();
    for job in group {
        let own = outcomes.by_ref().take(job.ratings.len()).collect();
        // Whoever asked may have gone; what is stored stays stored.
        drop(job.answer.send(Ok(own)));
    }
}
