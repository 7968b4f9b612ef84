//! What people said, as a run learns from it: ratings with the weight of each, dealt by prompt into a
//! part to learn from and a part to judge by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use kudos_core::task::Prompt;
use kudos_schema::{RaterWeights, Rating};

use crate::feedback::lines;
use crate::output;
use crate::policy::Policy;
use crate::session::Examples;
use crate::usage::usage;

/// One prompt in so many is held out.
const HELD_OUT: u64 = 10;

/// A rating with how much it counts.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) rating: Rating,
    /// 1 is usual.
    pub(crate) weight: f64,
}

/// Two parts of the same.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dealt<T> {
    /// To learn from.
    pub(crate) train: Vec<T>,
    /// To judge by.
    pub(crate) held_out: Vec<T>,
}

/// A completion of a rating, drawn with probabilities that a policy can be weighed with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn<'a> {
    pub(crate) heard: &'a Heard,
    /// Its place among the rating's samples.
    pub(crate) place: usize,
    /// What it earned, from 0 to 1.
    pub(crate) reward: f64,
}

/// Reads ratings, each id once, with the weights of raters if there are any.
///
/// # Errors
/// Usage errors: a file cannot be read, or a line of it is no rating.
pub(crate) fn read(files: &[PathBuf], raters: Option<&Path>) -> Result<Vec<Heard>> {
    let raters = raters.map(read_raters).transpose()?;
    let mut ids = BTreeSet::new();
    let mut heard = Vec::new();
    for line in lines::read(files)? {
        let rating = line.rating.map_err(|refused| {
            let (file, number, reason) = (&line.file, line.number, refused.reason);
            usage(format!("{file}, line {number}: {reason}; take what `feedback import` kept"))
        })?;
        if ids.insert(rating.id.clone()) {
            let weight = raters.as_ref().map_or(1.0, |raters| raters.weight(&rating.rater));
            heard.push(Heard { rating, weight });
        }
    }
    Ok(heard)
}

fn read_raters(path: &Path) -> Result<RaterWeights> {
    let name = path.display();
    let remedy = "give a file that `feedback raters` wrote";
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(format!("{name}: {error}; {remedy}")))?;
    serde_json::from_str(&text).map_err(|error| usage(format!("{name}: {error}; {remedy}")))
}

/// Deals examples by their prompts, so that no prompt is in both parts, and at least one is held out; all
/// are in both where there is a single prompt, which is said.
pub(crate) fn deal<T: Clone>(examples: Vec<T>, prompt: impl Fn(&T) -> &[u32]) -> Dealt<T> {
    let numbers: Vec<u64> = examples.iter().map(|example| fingerprint(prompt(example))).collect();
    let drawn = numbers.iter().any(|number| number.is_multiple_of(HELD_OUT));
    let least = numbers.iter().min().copied().unwrap_or_default();
    let is_held_out = |example: &T| {
        let number = fingerprint(prompt(example));
        if drawn { number.is_multiple_of(HELD_OUT) } else { number == least }
    };
    let (held_out, train): (Vec<T>, Vec<T>) =
        examples.iter().cloned().partition(|example| is_held_out(example));
    if train.is_empty() || held_out.is_empty() {
        output::note("there is a single prompt: what is judged by is what was learned from");
        return Dealt { train: examples.clone(), held_out: examples };
    }
    Dealt { train, held_out }
}

impl<T: fmt::Debug> Dealt<T> {
    /// How many examples there are to learn from, and a hash of both parts with all their numbers, in order.
    pub(crate) fn examples(&self) -> Examples {
        let mut hash = Fnv::default();
        write!(hash, "{:?} {:?}", self.train, self.held_out).expect("hashing takes any text");
        Examples { count: self.train.len(), hash: format!("{:016x}", hash.0) }
    }
}

/// A hash of tokens that is the same everywhere.
fn fingerprint(tokens: &[u32]) -> u64 {
    let mut hash = Fnv::default();
    tokens.iter().for_each(|token| hash.take(&token.to_le_bytes()));
    // The lowest bits of this hash are weak.
    hash.0 >> 32
}

/// FNV-1a.
struct Fnv(u64);

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.as_bytes());
        Ok(())
    }
}

/// The rated completions that say something of what `policy` would earn; what does not is counted.
pub(crate) fn drawn<'a>(heard: &'a [Heard], policy: &Policy, out: &mut LeftOut) -> Vec<Drawn<'a>> {
    let mut drawn = Vec::new();
    for heard in heard {
        let rating = &heard.rating;
        let rewards = rating.rewards();
        if rewards.is_empty() {
            out.add("without a reward");
        } else if !same_tokens(rating, policy) {
            out.add("of another tokenizer");
        } else {
            for (place, reward) in rewards {
                match unusable(rating, place, policy) {
                    Some(reason) => out.add(reason),
                    None => drawn.push(Drawn { heard, place, reward }),
                }
            }
        }
    }
    drawn
}

/// Why a completion has no weight.
fn unusable(rating: &Rating, place: usize, policy: &Policy) -> Option<&'static str> {
    let sample = &rating.samples[place];
    let length = rating.prompt.token_ids.len() + sample.token_ids.len();
    if sample.sampling.temperature == 0.0 {
        Some("greedy")
    } else if sample.token_ids.is_empty() || length > policy.config().context_length {
        Some("empty or longer than the context")
    } else {
        None
    }
}

/// What was asked, and the beginning of the reply that the rater fixed: after messages, a rating's
/// text is that beginning, else it is the prompt itself.
pub(crate) fn asked(rating: &Rating) -> (Prompt, String) {
    match rating.prompt.messages.as_slice() {
        [] => (Prompt::Text(rating.prompt.text.clone()), String::new()),
        messages => (Prompt::Messages(messages.to_vec()), rating.prompt.text.clone()),
    }
}

/// Whether the tokens of a rating, and its picture, mean to `policy` what they meant to the rated one.
pub(crate) fn same_tokens(rating: &Rating, policy: &Policy) -> bool {
    let tokenizer = &policy.tokenizer;
    let size = policy.config().vision.map(|vision| vision.image_size);
    let seen = rating.prompt.picture.as_ref().is_none_or(|picture| Some(picture.size) == size);
    let known = |ids: &[u32]| ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size());
    seen && known(rating.prompt.tokens())
        && rating.samples.iter().all(|sample| {
            known(&sample.token_ids)
                && tokenizer.decode(&sample.token_ids).trim_end_matches(char::REPLACEMENT_CHARACTER)
                    == sample.text.trim_end_matches(char::REPLACEMENT_CHARACTER)
        })
}

/// How often each reason to leave something out applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LeftOut(BTreeMap<&'static str, usize>);

impl LeftOut {
    /// Counts one.
    pub(crate) fn add(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// In words; nothing if nothing was left out.
    pub(crate) fn text(&self) -> Option<String> {
        let parts = self.0.iter().map(|(reason, count)| format!("{count} {reason}"));
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_in_one_part_alone_and_one_in_ten_is_held_out() {
        let examples: Vec<(Vec<u32>, usize)> =
            (0..4000).map(|n| (vec![3, n as u32 / 2, 9], n)).collect();
        let Dealt { train, held_out } = deal(examples, |example| &example.0);
        assert_eq!(train.len() + held_out.len(), 4000);
        let prompts: BTreeSet<&Vec<u32>> = train.iter().map(|example| &example.0).collect();
        assert!(held_out.iter().all(|example| !prompts.contains(&example.0)));
        // Of 2000 prompts 200 are expected, four standard deviations are 54.
        assert!((146..=254).contains(&(held_out.len() / 2)), "{}", held_out.len());
    }

    #[test]
    fn of_two_prompts_one_is_held_out() {
        for seed in 0..50 {
            let dealt = deal(vec![vec![seed], vec![seed + 100], vec![seed]], |prompt| prompt);
            assert_eq!(dealt.train.len() + dealt.held_out.len(), 3, "{dealt:?}");
            assert!(!dealt.train.is_empty() && !dealt.held_out.is_empty());
        }
    }

    #[test]
    fn a_single_prompt_is_learned_from_and_judged_by() {
        let both = deal(vec![vec![1, 2], vec![1, 2]], |prompt| prompt);
        assert_eq!((both.train.len(), both.held_out.len()), (2, 2));
    }
}
