//! CIDEr-D: how much of what people agree to say of a picture a caption says.
//!
//! Word sequences of 1 to 4 words are weighted by how rare they are in the references of a whole data set
//! (`ln` of its number of items less `ln` of the number of items that have the sequence); a caption and a
//! reference are compared by the cosine of these weighted counts, clipped at the reference's, times a Gaussian
//! of the difference of their lengths with sigma 6. The mean over lengths of sequences and over references, times 10.
//!
//! As in the authors' program, a text's length is its number of pairs of words. Words are runs of letters and
//! digits in small letters. Leaves out: the stemming of CIDEr without D; Stanford's tokenizer.
//! Source: Vedantam, Zitnick and Parikh 2015, <https://arxiv.org/abs/1411.5726>, section 6.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The longest word sequence.
const LONGEST: usize = 4;
/// Of the Gaussian of the difference of lengths, in words.
const SIGMA: f64 = 6.0;
/// A caption that says just what all references say, in four words or more.
pub const BEST: f64 = 10.0;

/// In how many items of a data set each word sequence is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frequencies {
    n_items: usize,
    counts: HashMap<String, usize>,
}

/// A text's weighted counts, by the length of the sequence.
struct Weighted {
    by_length: [BTreeMap<String, f64>; LONGEST],
    norms: [f64; LONGEST],
    pairs: f64,
}

impl Frequencies {
    /// Counts in the references of each item.
    pub fn of(items: &[Vec<String>]) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for references in items {
            let said: BTreeSet<String> =
                references.iter().flat_map(|text| sequences(text)).map(|(_, said)| said).collect();
            for sequence in said {
                *counts.entry(sequence).or_default() += 1;
            }
        }
        Self { n_items: items.len(), counts }
    }

    fn weigh(&self, text: &str) -> Weighted {
        let mut by_length: [BTreeMap<String, f64>; LONGEST] = Default::default();
        let mut pairs = 0.0;
        for (length, sequence) in sequences(text) {
            *by_length[length - 1].entry(sequence).or_default() += 1.0;
            pairs += f64::from(u8::from(length == 2));
        }
        for (sequence, weight) in by_length.iter_mut().flatten() {
            let items = self.counts.get(sequence).copied().unwrap_or(0).max(1);
            *weight *= (self.n_items.max(1) as f64).ln() - (items as f64).ln();
        }
        let norm = |weights: &BTreeMap<String, f64>| weights.values().map(|w| w * w).sum::<f64>();
        let norms = std::array::from_fn(|index| norm(&by_length[index]).sqrt());
        Weighted { by_length, norms, pairs }
    }
}

impl Weighted {
    /// The mean over the lengths of sequences.
    fn likeness(&self, reference: &Self) -> f64 {
        let cosine = |index: usize| {
            let shared = self.by_length[index].iter().map(|(sequence, weight)| {
                let other = reference.by_length[index].get(sequence).copied().unwrap_or(0.0);
                weight.min(other) * other
            });
            let norms = self.norms[index] * reference.norms[index];
            if norms == 0.0 { 0.0 } else { shared.sum::<f64>() / norms }
        };
        let apart = self.pairs - reference.pairs;
        let gaussian = (-apart * apart / (2.0 * SIGMA * SIGMA)).exp();
        gaussian * (0..LONGEST).map(cosine).sum::<f64>() / LONGEST as f64
    }
}

/// CIDEr-D of a caption, from 0 to [`BEST`]; 0 without references.
pub fn cider_d(text: &str, references: &[&str], frequencies: &Frequencies) -> f64 {
    let caption = frequencies.weigh(text);
    let sum: f64 = references.iter().map(|text| caption.likeness(&frequencies.weigh(text))).sum();
    BEST * sum / references.len().max(1) as f64
}

/// All word sequences of a text, with their lengths.
fn sequences(text: &str) -> Vec<(usize, String)> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let of = |length| words.windows(length).map(move |window| (length, window.join(" ")));
    (1..=LONGEST).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, references: &[&str], expected: f64) {
        let items = ["a red apple", "a green apple tree", "the red house by the sea"];
        let items: Vec<Vec<String>> = items.iter().map(|text| vec![(*text).to_owned()]).collect();
        let found = cider_d(text, references, &Frequencies::of(&items));
        assert!((found - expected).abs() < 1e-9, "{text}: {found}, not {expected}");
    }

    #[test]
    fn a_copy_of_four_words_is_worth_ten_and_shorter_ones_as_many_quarters() {
        check("A green apple tree!", &["a green apple tree"], 10.0);
        check("green apple tree", &["green apple tree"], 7.5);
        check("tree", &["tree"], 2.5);
        check("", &["tree"], 0.0);
        check("tree", &[], 0.0);
    }

    #[test]
    fn likeness_is_hand_arithmetic() {
        // Rarities: apple ln 3/2, tree and green ln 3; of pairs, `green apple` and `apple tree` ln 3. The
        // texts have one pair and none, so the Gaussian is exp(-1/72).
        let (apple, rare) = (1.5_f64.ln(), 3.0_f64.ln());
        let cosine = apple / apple.hypot(rare);
        check("apple", &["green apple"], 10.0 * cosine / 4.0 * (-1.0_f64 / 72.0).exp());
        // Said twice counts once: min(2 apple, apple) apple over 2 apple * apple.
        check("apple apple", &["apple"], 10.0 * 0.5 / 4.0 * (-1.0_f64 / 72.0).exp());
    }
}
