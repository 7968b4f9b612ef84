//! How alike two texts are to a sentence encoder: cosine of their vectors, or greedy matching of tokens.
//!
//! Measures: whether a text means what its reference means, in whatever words.
//! Formula: cosine of the mean vectors (Reimers and Gurevych 2019); or, with x the unit vectors of one
//! text's tokens and y the other's, `P = mean_i max_j x_i y_j`, `R = mean_j max_i x_i y_j`,
//! `F = 2 P R / (P + R)` (BERTScore without idf weights and rescaling).
//! Range: -1 to 1; texts of one language rarely fall below 0.
//! Misleads when: a negation or a number decides; the encoder was not trained on such texts.
//! Reference: Zhang et al. 2020, "BERTScore"; the package `bert-score` 0.3.13, `greedy_cos_idf`: its
//! marks at both ends of a text weigh nothing, but may be matched.

use crate::model::Encoder;
use crate::sentence_encoder::SentenceEncoder;

/// Texts read at once.
const BATCH: usize = 32;

/// What greedy matching finds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Matched {
    /// How well each token of the candidate is found in the reference, on average.
    pub precision: f32,
    /// How well each token of the reference is found in the candidate, on average.
    pub recall: f32,
    /// Their harmonic mean; 0 where one text has no tokens.
    pub f1: f32,
}

impl SentenceEncoder {
    /// One vector of length one for each text. `-> [B][D]`
    ///
    /// # Errors
    /// What the device reports when it does not return them.
    pub async fn embeddings(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        let mut all = Vec::with_capacity(texts.len());
        for part in texts.chunks(BATCH) {
            let ids: Vec<Vec<u32>> = part.iter().map(|text| self.encode(&[text])).collect();
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let vectors = self.model.embed(&ids);
            let width = vectors.dims()[1];
            let data = vectors.into_data_async().await.map_err(|error| format!("{error:?}"))?;
            let flat = data.try_to_vec::<f32>().expect("embeddings are f32");
            all.extend(flat.chunks_exact(width).map(<[f32]>::to_vec));
        }
        Ok(all)
    }

    /// One vector of length one for each token of each text, the marks at its ends included.
    /// `-> [B][T][D]`
    ///
    /// # Errors
    /// What the device reports when it does not return them.
    pub async fn token_vectors(&self, texts: &[&str]) -> Result<Vec<Vec<Vec<f32>>>, String> {
        let mut all = Vec::with_capacity(texts.len());
        for part in texts.chunks(BATCH) {
            let ids: Vec<Vec<u32>> = part.iter().map(|text| self.encode(&[text])).collect();
            all.extend(last_layer(&self.model, &ids).await?);
        }
        Ok(all)
    }
}

/// Unit vectors of the last layer, padding left out. `-> [B][T][D]`
async fn last_layer(model: &Encoder, ids: &[Vec<u32>]) -> Result<Vec<Vec<Vec<f32>>>, String> {
    let rows: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let last = model.layers(&rows).pop().expect("there are embeddings at least");
    let [_, time, width] = last.dims();
    let data = last.into_data_async().await.map_err(|error| format!("{error:?}"))?;
    let flat = data.convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
    let texts = flat.chunks_exact(time * width).zip(ids);
    let texts =
        texts.map(|(text, ids)| text.chunks_exact(width).take(ids.len()).map(unit).collect());
    Ok(texts.collect())
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = dot(vector, vector).sqrt().max(1e-12);
    vector.iter().map(|value| value / length).collect()
}

/// Cosine of vectors of length one. `[D], [D]`
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Matches the tokens of two texts greedily; the first and the last vector of each are marks.
/// `[N][D], [M][D]`
pub fn greedy_match(candidate: &[Vec<f32>], reference: &[Vec<f32>]) -> Matched {
    let precision = mean_of_best(candidate, reference);
    let recall = mean_of_best(reference, candidate);
    match (precision, recall) {
        (Some(precision), Some(recall)) if precision + recall != 0.0 => {
            let f1 = 2.0 * precision * recall / (precision + recall);
            Matched { precision, recall, f1 }
        }
        _ => Matched::default(),
    }
}

/// The mean over the tokens between the marks of the best match among all of the other text.
fn mean_of_best(own: &[Vec<f32>], other: &[Vec<f32>]) -> Option<f32> {
    let tokens = own.get(1..own.len().checked_sub(1)?)?;
    let best = |token: &Vec<f32>| {
        other.iter().map(|other| dot(token, other)).fold(f32::NEG_INFINITY, f32::max)
    };
    let sum: f32 = tokens.iter().map(best).sum();
    (!tokens.is_empty()).then(|| sum / tokens.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(angles: &[f32]) -> Vec<Vec<f32>> {
        let mark = vec![0.0, 0.0, 1.0];
        let token = |angle: &f32| vec![angle.cos(), angle.sin(), 0.0];
        [vec![mark.clone()], angles.iter().map(token).collect(), vec![mark]].concat()
    }

    #[test]
    fn a_text_matches_itself_in_any_order() {
        let found = greedy_match(&text(&[0.1, 0.9, 2.0]), &text(&[2.0, 0.1, 0.9]));
        assert!((found.f1 - 1.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn what_is_missing_costs_recall_and_what_is_added_precision() {
        let (short, long) = (text(&[0.0]), text(&[0.0, std::f32::consts::FRAC_PI_2]));
        let missing = greedy_match(&short, &long);
        assert!((missing.precision - 1.0).abs() < 1e-6 && (missing.recall - 0.5).abs() < 1e-6);
        let added = greedy_match(&long, &short);
        assert_eq!((added.precision, added.recall), (missing.recall, missing.precision));
    }

    #[test]
    fn a_text_without_tokens_matches_nothing() {
        assert_eq!(greedy_match(&text(&[]), &text(&[0.3])), Matched::default());
        assert_eq!(greedy_match(&[], &text(&[0.3])), Matched::default());
    }
}
