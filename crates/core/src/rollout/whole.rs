//! Choosing among whole actions: a beam finds the likeliest, each is weighed by log-probability + beta Q of its last token.
//!
//! Token by token, a first letter is chosen for all words that begin with it: many unlikely words with one beginning outweigh the
//! likeliest word, and Q of a letter is a mean over all that the data went on to spell. Q of the last token is of one action.
//! Caches remember what was read, and are copied to wherever the beam goes on.
//! Sources: Lowerre 1976 (beam search); Fujimoto et al. 2019 (candidates of the behavior policy that Q chooses among).

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::generate::GenerateError;
use super::prefill::prefill;
use super::valued::Decoding;
use crate::model::{Cache, Estimates, Tokens, Transformer, Valued, indices};

/// Hypotheses that are read together, over all prompts.
const AT_ONCE: usize = 512;

/// An action, or the beginning of one.
#[derive(Debug, Clone)]
struct Hypothesis {
    tokens: Vec<u32>,
    /// In nats, of all tokens.
    log_prob: f32,
    /// Q of the last token.
    worth: f32,
    /// The row that read it; none = it has ended.
    row: Option<usize>,
}

/// What is said of the next token of N rows, on the host. Rows of V numbers.
struct Said {
    log_probs: Vec<f32>,
    worth: Vec<f32>,
    vocabulary: usize,
}

/// A model that has read some rows.
struct Reader<'a> {
    model: &'a Transformer,
    cache: Cache,
    /// Of the last token of each row. `[N, 1, D]`
    hidden: Tensor<3>,
}

/// One action for each prompt, as [`choose`](super::choose) with several candidates.
///
/// # Errors
/// A failing device.
pub(super) async fn choose_whole(
    model: &Valued,
    prompts: &[Vec<u32>],
    decoding: &Decoding<'_>,
) -> Result<Vec<Vec<u32>>, GenerateError> {
    let mut actions = Vec::with_capacity(prompts.len());
    for some in prompts.chunks((AT_ONCE / decoding.candidates).max(1)) {
        for found in beam(model, some, decoding).await? {
            actions.push(weighed(found, decoding, actions.len()));
        }
    }
    Ok(actions)
}

/// The likeliest actions for each prompt, the likeliest first.
async fn beam(
    model: &Valued,
    prompts: &[Vec<u32>],
    decoding: &Decoding<'_>,
) -> Result<Vec<Vec<Hypothesis>>, GenerateError> {
    let longest = decoding.sampling.max_completion_length;
    let context = model.policy.config().context_length;
    let mut readers: Vec<Reader<'_>> = [Some(&model.policy), model.reader.as_ref()]
        .into_iter()
        .flatten()
        .map(|model| Reader::new(model, prompts, longest))
        .collect();
    let begin =
        |row| vec![Hypothesis { tokens: Vec::new(), log_prob: 0.0, worth: 0.0, row: Some(row) }];
    let mut found: Vec<Vec<Hypothesis>> = (0..prompts.len()).map(begin).collect();
    for length in 1..=longest {
        let said = Said::of(&estimates(model, &readers), decoding).await?;
        let mut next = Next::default();
        for (prompt, found) in prompts.iter().zip(&mut found) {
            let full = length == longest || prompt.len() + length == context;
            *found = said.likeliest(found, decoding.candidates);
            for one in found.iter_mut().filter(|one| one.row.is_some()) {
                let last = *one.tokens.last().expect("a token was added");
                let ended = full || decoding.stop.0.contains(&last);
                one.row = one
                    .row
                    .filter(|_| !ended)
                    .map(|parent| next.row(parent, last, prompt.len() + length - 1));
            }
        }
        if next.parents.is_empty() {
            break;
        }
        readers.iter_mut().for_each(|reader| reader.read(&next));
    }
    Ok(found)
}

/// The tokens that are read next.
#[derive(Debug, Default)]
struct Next {
    /// The row that read what is before each.
    parents: Vec<usize>,
    tokens: Vec<i32>,
    /// Its place in its sequence.
    positions: Vec<i32>,
}

impl Next {
    fn row(&mut self, parent: usize, token: u32, position: usize) -> usize {
        self.parents.push(parent);
        self.tokens.push(token as i32);
        self.positions.push(position as i32);
        self.parents.len() - 1
    }
}

impl<'a> Reader<'a> {
    /// Reads the prompts; so many more tokens will follow at most.
    fn new(model: &'a Transformer, prompts: &[Vec<u32>], longest: usize) -> Self {
        let (cache, hidden) = prefill(model, prompts, longest);
        Self { model, cache, hidden }
    }

    fn read(&mut self, next: &Next) {
        let (device, count) = (self.model.device(), next.parents.len());
        let column = |values: &[i32]| {
            Tensor::<2, Int>::from_data(TensorData::new(values.to_vec(), [count, 1]), &device)
        };
        self.cache.select(&indices(next.parents.iter().copied(), &device));
        let tokens = Tokens::next(column(&next.tokens), column(&next.positions));
        self.hidden = self.model.hidden_cached(&tokens, &mut self.cache);
    }

    /// `-> [N, D]`
    fn state(&self) -> Tensor<2> {
        self.hidden.clone().squeeze_dim(1)
    }
}

/// What a model thinks of the next token, its reader behind its policy where it has one.
fn estimates(model: &Valued, readers: &[Reader<'_>]) -> Estimates {
    let [own, .., read_by] = [&readers[0], &readers[readers.len() - 1]];
    model.estimates(own.state(), read_by.state())
}

impl Said {
    async fn of(estimates: &Estimates, decoding: &Decoding<'_>) -> Result<Self, GenerateError> {
        let log_probs = activation::log_softmax(estimates.logits.clone(), 1);
        let [_, vocabulary] = log_probs.dims();
        let both = Tensor::cat(vec![log_probs, decoding.learning.worth(estimates)], 0);
        let data = both.into_data_async().await;
        let data = data.map_err(|error| GenerateError::Device(format!("{error:?}")))?;
        let mut log_probs: Vec<f32> = data.convert::<f32>().try_to_vec().expect("are f32");
        let worth = log_probs.split_off(log_probs.len() / 2);
        Ok(Self { log_probs, worth, vocabulary })
    }

    /// The likeliest `count` of what has ended and of every longer form of what has not; of equal ones the earlier.
    fn likeliest(&self, found: &[Hypothesis], count: usize) -> Vec<Hypothesis> {
        let mut all: Vec<(f32, &Hypothesis, Option<u32>)> = Vec::new();
        for one in found {
            match one.row {
                None => all.push((one.log_prob, one, None)),
                Some(row) => all.extend(
                    (0..self.vocabulary as u32)
                        .zip(&self.log_probs[row * self.vocabulary..])
                        .map(|(token, log_prob)| (one.log_prob + log_prob, one, Some(token))),
                ),
            }
        }
        all.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        let longer =
            |(log_prob, one, token): (f32, &Hypothesis, Option<u32>)| match (token, one.row) {
                (Some(token), Some(row)) => Hypothesis {
                    tokens: one.tokens.iter().copied().chain([token]).collect(),
                    log_prob,
                    worth: self.worth[row * self.vocabulary + token as usize],
                    row: Some(row),
                },
                _ => one.clone(),
            };
        all.into_iter().take(count).map(longer).collect()
    }
}

/// The action of prompt `index`: of those that have enough of the likeliest one's probability, the one that
/// log-probability + beta worth prefers.
fn weighed(found: Vec<Hypothesis>, decoding: &Decoding<'_>, index: usize) -> Vec<u32> {
    let least = found[0].log_prob + decoding.learning.support.ln() as f32;
    let supported = found.into_iter().filter(|one| one.log_prob >= least);
    let all: Vec<(f64, Vec<u32>)> = supported
        .map(|one| (f64::from(one.log_prob) + decoding.beta * f64::from(one.worth), one.tokens))
        .collect();
    let best = all.iter().fold(f64::NEG_INFINITY, |best, (score, _)| best.max(*score));
    let temperature = decoding.sampling.temperature;
    let share = |score: f64| match temperature == 0.0 {
        true => f64::from(u8::from(score == best)),
        false => ((score - best) / temperature).exp(),
    };
    let total: f64 = all.iter().map(|(score, _)| share(*score)).sum();
    let coin = match temperature == 0.0 {
        true => 0.0,
        false => f64::from(decoding.coins.of_completion(index, 1)[0]),
    };
    let mut passed = 0.0;
    let chosen = all.iter().position(|(score, _)| {
        passed += share(*score);
        passed > coin * total
    });
    let last = all.len() - 1;
    all.into_iter().nth(chosen.unwrap_or(last)).map(|(_, tokens)| tokens).expect("one is the best")
}
