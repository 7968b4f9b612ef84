//! Rewards: what a completion is worth, as one number, higher is better.
//!
//! `None` means that a reward does not apply to an item, for instance because the item has no
//! reference. Whether it applies depends on the item alone, never on what the policy wrote: a
//! policy must not be able to choose whether it is judged. Left out: rewards that ask a model.
//! Source: DESIGN.md, vocabulary; each reward names its own.
//!
//! ```
//! use kudos_core::reward::{Completion, RewardSpec, reward};
//! use kudos_core::task::Prompt;
//! let references = ["the cat sat".to_owned()];
//! let extra = serde_json::Map::new();
//! let prompt = Prompt::Text("What happened?".to_owned());
//! let completion = Completion {
//!     prompt: &prompt,
//!     text: "the cat sat",
//!     references: &references,
//!     ended: true,
//!     n_tokens: 4,
//!     extra: &extra,
//! };
//! let rouge = reward(&RewardSpec::of("rougeL"))?;
//! assert_eq!(rouge.score(&completion), Some(1.0));
//! # Ok::<(), kudos_core::reward::RewardError>(())
//! ```

#[cfg(feature = "train")]
mod best;
mod mix;
mod shape;
mod text;

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::task::Prompt;
use crate::text::edit_distance::edit_distance;

#[cfg(feature = "train")]
pub use best::{best, expected_best};
pub use mix::{Mix, Scored};
pub use shape::{Distinct, Ended, Format, Length, Repetition, WellFormed};
#[cfg(feature = "train")]
pub use text::Cider;
pub use text::{Bleu, Chrf, Exact, Rouge, RougeKind, TripleMeasure, Triples};

/// What a policy wrote, with all that a reward may look at.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// What the policy was given.
    pub prompt: &'a Prompt,
    /// The completion, without special tokens.
    pub text: &'a str,
    /// Completions known to be good; none where the item has none.
    pub references: &'a [String],
    /// Whether the policy drew an end token, rather than being cut off.
    pub ended: bool,
    /// Tokens drawn, the end token included.
    pub n_tokens: usize,
    /// The item's other columns.
    pub extra: &'a Map<String, Value>,
}

/// Judges completions.
pub trait Reward: fmt::Debug + Send + Sync {
    /// The name in recipes and in `rewards/{name}/mean`.
    fn name(&self) -> &str;

    /// Higher is better; `None` where the reward does not apply to the item.
    fn score(&self, completion: &Completion<'_>) -> Option<f32>;

    /// The same of many, for rewards that are faster together.
    fn score_all(&self, completions: &[Completion<'_>]) -> Vec<Option<f32>> {
        completions.iter().map(|completion| self.score(completion)).collect()
    }
}

/// A reward as a recipe asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewardSpec<'a> {
    /// One of [`NAMES`].
    pub kind: &'a str,
    /// For `format`: the regular expression.
    pub pattern: Option<&'a str>,
    /// For `length`: how many words are wanted.
    pub target: Option<usize>,
    /// For `cider`: the references of each item that tells what is rare.
    pub documents: &'a [Vec<String>],
}

impl<'a> RewardSpec<'a> {
    /// The reward of this name, for those that need nothing else.
    pub fn of(kind: &'a str) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Only `format` has a pattern and only `length` a target; elsewhere they would do nothing.
    fn plain(&self) -> Result<(), RewardError> {
        self.no_pattern()?;
        self.no_target()
    }

    fn no_pattern(&self) -> Result<(), RewardError> {
        match self.pattern {
            None => Ok(()),
            Some(_) => Err(RewardError::Unused { kind: self.kind.to_owned(), field: "pattern" }),
        }
    }

    fn no_target(&self) -> Result<(), RewardError> {
        match self.target {
            None => Ok(()),
            Some(_) => Err(RewardError::Unused { kind: self.kind.to_owned(), field: "target" }),
        }
    }
}

/// Why there is no such reward.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RewardError {
    /// The name is not in the registry.
    #[error("reward `{kind}` is not known: did you mean `{nearest}`? known are {}", NAMES.join(", "))]
    Unknown {
        /// The name given.
        kind: String,
        /// The known name that is most like it.
        nearest: &'static str,
    },
    /// `format` without a pattern.
    #[error("reward `format` lacks its pattern: give the regular expression to match")]
    NoPattern,
    /// The pattern does not compile.
    #[error("pattern `{pattern}` of reward `format` is not a regular expression: {reason}")]
    Pattern {
        /// The pattern given.
        pattern: String,
        /// What the regex engine says, its last line.
        reason: String,
    },
    /// `length` without a target, or with none to divide by.
    #[error("reward `length` needs a target of at least 1 word: give the number of words wanted")]
    Target,
    /// `cider` without texts that tell what is rare.
    #[error(
        "reward `cider` tells rare words by the references of its data: it needs two items with references"
    )]
    NoDocuments,
    /// A field that the reward does not read.
    #[error("reward `{kind}` takes no {field}: remove it")]
    Unused {
        /// The reward.
        kind: String,
        /// The field.
        field: &'static str,
    },
    /// A mix of nothing.
    #[error("a mix needs a reward: give at least one")]
    Empty,
    /// A weight that makes every total meaningless.
    #[error("weight {weight} of reward `{name}` is not a finite number: give one")]
    Weight {
        /// The reward.
        name: String,
        /// Its weight.
        weight: f64,
    },
}

type Built = Result<Box<dyn Reward>, RewardError>;
type Build = fn(&RewardSpec<'_>) -> Built;

/// Every reward: its name, and what makes it.
const REGISTRY: [(&str, Build); 15 + cfg!(feature = "train") as usize] = [
    ("bleu", |spec| plain(spec, Bleu)),
    ("chrf", |spec| plain(spec, Chrf)),
    ("rouge1", |spec| plain(spec, Rouge(RougeKind::One))),
    ("rouge2", |spec| plain(spec, Rouge(RougeKind::Two))),
    ("rougeL", |spec| plain(spec, Rouge(RougeKind::Longest))),
    ("triple_f1", |spec| plain(spec, Triples(TripleMeasure::F1))),
    ("triple_precision", |spec| plain(spec, Triples(TripleMeasure::Precision))),
    ("triple_recall", |spec| plain(spec, Triples(TripleMeasure::Recall))),
    ("distinct", |spec| plain(spec, Distinct)),
    ("repetition", |spec| plain(spec, Repetition)),
    ("length", length),
    ("format", format),
    ("ended", |spec| plain(spec, Ended)),
    ("well_formed", |spec| plain(spec, WellFormed)),
    ("exact", |spec| plain(spec, Exact)),
    #[cfg(feature = "train")]
    ("cider", cider),
];

/// The names that [`reward`] knows.
pub const NAMES: &[&str] = &names();

const fn names() -> [&'static str; REGISTRY.len()] {
    let mut names = [""; REGISTRY.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = REGISTRY[index].0;
        index += 1;
    }
    names
}

/// The reward that a recipe asks for.
///
/// # Errors
/// The name is unknown, or a field is missing, wrong, or one that the reward does not read.
pub fn reward(spec: &RewardSpec<'_>) -> Result<Box<dyn Reward>, RewardError> {
    match REGISTRY.iter().find(|(name, _)| *name == spec.kind) {
        Some((_, build)) => build(spec),
        None => {
            Err(RewardError::Unknown { kind: spec.kind.to_owned(), nearest: nearest(spec.kind) })
        }
    }
}

fn plain(spec: &RewardSpec<'_>, reward: impl Reward + 'static) -> Built {
    spec.plain()?;
    Ok(Box::new(reward))
}

fn length(spec: &RewardSpec<'_>) -> Built {
    spec.no_pattern()?;
    Ok(Box::new(Length::new(spec.target.unwrap_or(0))?))
}

#[cfg(feature = "train")]
fn cider(spec: &RewardSpec<'_>) -> Built {
    spec.plain()?;
    if spec.documents.len() < 2 {
        return Err(RewardError::NoDocuments);
    }
    Ok(Box::new(Cider::among(spec.documents)))
}

fn format(spec: &RewardSpec<'_>) -> Built {
    spec.no_target()?;
    Ok(Box::new(Format::new(spec.pattern.ok_or(RewardError::NoPattern)?)?))
}

/// The known name with the fewest edits to `kind`, letter case aside; the first on a tie.
fn nearest(kind: &str) -> &'static str {
    let kind = kind.to_lowercase();
    NAMES
        .iter()
        .min_by_key(|name| edit_distance(&kind, &name.to_lowercase()))
        .expect("the registry is not empty")
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Every reward, with what it needs beside its name.
    fn spec(kind: &str) -> RewardSpec<'_> {
        static DOCUMENTS: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
            [["a b"], ["c"], ["b c"]].map(|one| one.map(str::to_owned).to_vec()).to_vec()
        });
        let documents = if kind == "cider" { DOCUMENTS.as_slice() } else { &[] };
        RewardSpec {
            pattern: (kind == "format").then_some("[a-z ]*"),
            target: (kind == "length").then_some(4),
            documents,
            ..RewardSpec::of(kind)
        }
    }

    fn check(kind: &str, text: &str, references: &[String]) -> Option<f32> {
        let extra = Map::new();
        let (ended, n_tokens) = (text.len().is_multiple_of(2), text.len() + 1);
        let completion = Completion {
            prompt: &Prompt::Text(String::new()),
            text,
            references,
            ended,
            n_tokens,
            extra: &extra,
        };
        reward(&spec(kind)).unwrap().score(&completion)
    }

    fn refused(spec: RewardSpec<'_>) -> String {
        reward(&spec).unwrap_err().to_string()
    }

    #[test]
    fn every_name_makes_the_reward_of_that_name() {
        for name in NAMES {
            assert_eq!(reward(&spec(name)).unwrap().name(), *name);
        }
    }

    #[test]
    fn rewards_without_their_references_do_not_apply() {
        let needy: Vec<&str> =
            NAMES.iter().copied().filter(|name| check(name, "a b c d", &[]).is_none()).collect();
        let expected =
            ["bleu", "chrf", "rouge1", "rouge2", "rougeL", "triple_f1", "triple_precision"];
        assert_eq!(needy, [&expected[..], &["triple_recall", "exact", "cider"]].concat());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let check = |kind, expected| {
            assert!(
                refused(RewardSpec::of(kind)).contains(&format!("mean `{expected}`")),
                "{kind}"
            );
        };
        check("Bleu", "bleu");
        check("rouge_l", "rougeL");
        check("tripleF1", "triple_f1");
        check("wellformed", "well_formed");
        check("lenght", "length");
    }

    #[test]
    fn missing_wrong_and_idle_fields_are_named() {
        let check = |spec, expected: &str| {
            let line = refused(spec);
            assert!(line.contains(expected) && !line.contains('\n'), "{line}");
        };
        let (format, length) = (RewardSpec::of("format"), RewardSpec::of("length"));
        check(format, "lacks its pattern");
        check(RewardSpec { pattern: Some("(a"), ..format }, "`(a`");
        check(RewardSpec { pattern: Some("a)|(b"), ..format }, "`a)|(b`");
        check(RewardSpec { target: Some(1), ..spec("format") }, "takes no target");
        check(length, "at least 1 word");
        check(RewardSpec { target: Some(0), ..length }, "at least 1 word");
        check(RewardSpec { pattern: Some("a"), ..spec("length") }, "takes no pattern");
        check(RewardSpec { target: Some(1), ..RewardSpec::of("bleu") }, "`bleu` takes no target");
        check(RewardSpec::of("cider"), "two items");
    }

    #[test]
    fn edits_are_counted() {
        // s for k, i for e, g added.
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    proptest! {
        #[test]
        fn every_reward_is_bounded_and_applies_whatever_was_written(
            text in "([a-c|]{1,3}[ \n]){0,8}",
            reference in "([a-c|]{1,3}[ \n]){0,8}",
        ) {
            for name in NAMES {
                let score = check(name, &text, std::slice::from_ref(&reference));
                let low = if ["length", "repetition"].contains(name) { -1.0 } else { 0.0 };
                let high = low + 1.0;
                let score = score.expect("a reference was given");
                prop_assert!((low..=high).contains(&score), "{name}: {score}");
            }
        }

        #[test]
        fn another_reference_never_lowers_a_reward_but_bleu_and_cider(
            text in "([a-c|] ){0,8}",
            references in prop::collection::vec("([a-c|] ){0,8}", 2),
        ) {
            // BLEU compares lengths with the nearest reference, so that one more can cost it; CIDEr is a mean.
            for name in NAMES.iter().filter(|name| !["bleu", "cider"].contains(*name)) {
                let one = check(name, &text, &references[..1]);
                prop_assert!(check(name, &text, &references) >= one, "{name}");
            }
        }
    }
}
