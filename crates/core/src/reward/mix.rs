//! Several rewards as one: a weighted sum that keeps its parts.
//!
//! - Measures: what its parts measure, each as important as its weight says.
//! - Formula: sum of weight times reward, over the rewards that apply.
//! - Range: from the sum of the weighted lowest values to that of the highest.
//! - Misleads when: the parts have different ranges, so that a weight is not a share; or a reward
//!   applies to some items only, whose totals then lie on another scale.
//! - Reference: the usual scalarization, Roijers et al. 2013.

use std::collections::BTreeMap;

use super::{Completion, Reward, RewardError};

/// Rewards with their weights; never empty, every weight finite.
#[derive(Debug)]
pub struct Mix {
    parts: Vec<(Box<dyn Reward>, f64)>,
}

/// What a mix says of one completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The weighted sum of the parts that apply; `None` where none does.
    pub total: Option<f32>,
    /// Each reward, unweighted, in the order of [`Mix::names`].
    pub parts: Vec<Option<f32>>,
}

impl Mix {
    /// Each reward times its weight.
    ///
    /// # Errors
    /// There is no reward, or a weight is not finite.
    pub fn new(parts: Vec<(Box<dyn Reward>, f64)>) -> Result<Self, RewardError> {
        if parts.is_empty() {
            return Err(RewardError::Empty);
        }
        match parts.iter().find(|(_, weight)| !weight.is_finite()) {
            Some((reward, weight)) => {
                Err(RewardError::Weight { name: reward.name().to_owned(), weight: *weight })
            }
            None => Ok(Self { parts }),
        }
    }

    /// The name of each part; a reward that is in the mix again gets a number: `format_2`.
    pub fn names(&self) -> Vec<String> {
        let mut seen = BTreeMap::new();
        let number = |(reward, _): &(Box<dyn Reward>, f64)| {
            let count = seen.entry(reward.name().to_owned()).or_insert(0_usize);
            *count += 1;
            match *count {
                1 => reward.name().to_owned(),
                count => format!("{}_{count}", reward.name()),
            }
        };
        self.parts.iter().map(number).collect()
    }

    /// The weighted sum and its parts.
    pub fn score(&self, completion: &Completion<'_>) -> Scored {
        self.score_all(&[*completion]).remove(0)
    }

    /// The same of many.
    pub fn score_all(&self, completions: &[Completion<'_>]) -> Vec<Scored> {
        let columns: Vec<Vec<Option<f32>>> =
            self.parts.iter().map(|(reward, _)| reward.score_all(completions)).collect();
        let row = |place: usize| {
            let parts: Vec<Option<f32>> = columns.iter().map(|column| column[place]).collect();
            let weights = self.parts.iter().map(|(_, weight)| weight);
            let total = weights
                .zip(&parts)
                .filter_map(|(weight, part)| part.map(|part| weight * f64::from(part)))
                .reduce(|sum, part| sum + part);
            Scored { total: total.map(|total| total as f32), parts }
        };
        (0..completions.len()).map(row).collect()
    }
}

impl Reward for Mix {
    fn name(&self) -> &str {
        "reward"
    }

    fn score(&self, completion: &Completion<'_>) -> Option<f32> {
        Self::score(self, completion).total
    }

    fn score_all(&self, completions: &[Completion<'_>]) -> Vec<Option<f32>> {
        Self::score_all(self, completions).into_iter().map(|scored| scored.total).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::super::{RewardSpec, reward};
    use super::*;
    use crate::task::Prompt;

    fn mix(parts: &[(&str, f64)]) -> Result<Mix, RewardError> {
        let build =
            |(kind, weight): &(&str, f64)| (reward(&RewardSpec::of(kind)).unwrap(), *weight);
        Mix::new(parts.iter().map(build).collect())
    }

    fn check(parts: &[(&str, f64)], text: &str, references: &[&str]) -> Scored {
        let references: Vec<String> = references.iter().map(|&text| text.to_owned()).collect();
        let (references, extra) = (references.as_slice(), Map::new());
        let (ended, n_tokens) = (true, 1);
        let completion = Completion {
            prompt: &Prompt::Text(String::new()),
            text,
            references,
            ended,
            n_tokens,
            extra: &extra,
        };
        mix(parts).unwrap().score(&completion)
    }

    const PARTS: [(&str, f64); 3] = [("triple_f1", 2.0), ("well_formed", 0.5), ("ended", -1.0)];

    #[test]
    fn a_total_is_the_weighted_sum_of_its_parts() {
        // One of one stated is right, one of two is found; one line of two is a triple.
        let scored = check(&PARTS, "a | b | c\njunk", &["a | b | c\nd | e | f"]);
        assert_eq!(scored.parts, [Some(2.0 / 3.0), Some(0.5), Some(1.0)]);
        let expected = 2.0 * (2.0 / 3.0) + 0.5 * 0.5 - 1.0;
        assert!((scored.total.unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn a_reward_that_does_not_apply_adds_nothing() {
        let scored = check(&PARTS, "a | b | c", &[]);
        assert_eq!(scored, Scored { total: Some(-0.5), parts: vec![None, Some(1.0), Some(1.0)] });
    }

    #[test]
    fn a_mix_of_which_nothing_applies_does_not_apply() {
        let scored = check(&[("bleu", 1.0), ("chrf", 1.0)], "a", &[]);
        assert_eq!(scored, Scored { total: None, parts: vec![None, None] });
    }

    #[test]
    fn names_are_in_order_and_unique() {
        let names = mix(&[("bleu", 1.0), ("ended", 1.0), ("bleu", 2.0)]).unwrap().names();
        assert_eq!(names, ["bleu", "ended", "bleu_2"]);
    }

    #[test]
    fn mixes_that_would_total_nothing_are_refused() {
        assert_eq!(mix(&[]).unwrap_err(), RewardError::Empty);
        let refused = mix(&[("bleu", 1.0), ("ended", f64::NAN)]).unwrap_err();
        assert!(refused.to_string().contains("weight NaN of reward `ended`"));
    }
}
