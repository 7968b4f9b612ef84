//! A tokenizer of fewer tokens: those that texts use most, and what these are merged from.
//!
//! The merges that stay keep their order, so that a word whose tokens all stay, with those on the way to
//! them, is cut as before; any other word becomes more and smaller tokens, at worst its bytes.
//!
//! Misleads when: the texts that tokens were counted on are unlike those to be read and written.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::tokenizer::{Tokenizer, TokenizerError};

impl Tokenizer {
    /// A tokenizer of at most `size` tokens, with the token of this one that each of its own was, in the same
    /// order. `uses` says how often each token of this one was met; what was met most stays, among equals the
    /// smallest id. All bytes stay, and all tokens beside the vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError::Fewest`] where these alone are more.
    pub fn with_most_used(
        &self,
        uses: &[u64],
        size: usize,
    ) -> Result<(Self, Vec<u32>), TokenizerError> {
        let mut kept = self.needed();
        let needed = kept.iter().filter(|kept| **kept).count();
        if size < needed {
            return Err(TokenizerError::Fewest { size, needed });
        }
        let parents = self.parents();
        let mut count = needed;
        let mut ids: Vec<u32> = (0..self.vocab_size() as u32).collect();
        ids.sort_by_key(|id| (Reverse(uses.get(*id as usize).copied().unwrap_or(0)), *id));
        for id in ids {
            let mut missing = Vec::new();
            let mut waiting = vec![id];
            while let Some(id) = waiting.pop() {
                if !kept[id as usize] && !missing.contains(&id) {
                    missing.push(id);
                    waiting.extend(parents.get(&id).into_iter().flatten());
                }
            }
            // What is neither written nor merged is a hole in the numbering.
            let hole = self.token_bytes(id).is_empty();
            if !hole && count + missing.len() <= size {
                count += missing.len();
                missing.into_iter().for_each(|id| kept[id as usize] = true);
            }
        }
        let ids: Vec<u32> = (0..).zip(kept).filter_map(|(id, kept)| kept.then_some(id)).collect();
        Ok((Self::from_json(&self.rewritten(&ids)?)?, ids))
    }

    /// Which tokens no text and no template can do without.
    fn needed(&self) -> Vec<bool> {
        let mut kept = vec![false; self.vocab_size()];
        let file = self.file();
        let beside = file.specials.iter().chain(&file.added).map(|(_, id)| *id);
        let bytes = file.bpe.bytes.iter().flatten().copied();
        let used = [self.end_id(), self.pad_id()].into_iter().chain(file.unknown);
        beside.chain(bytes).chain(used).for_each(|id| kept[id as usize] = true);
        kept
    }

    /// The two tokens that each is merged from, by the earliest merge that makes it.
    fn parents(&self) -> HashMap<u32, [u32; 2]> {
        let mut merges: Vec<_> = self.file().bpe.merges.iter().collect();
        merges.sort_by_key(|(_, (rank, _))| Reverse(*rank));
        merges.into_iter().map(|((left, right), (_, both))| (*both, [*left, *right])).collect()
    }

    /// The file with these tokens alone, numbered in their order.
    fn rewritten(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let new: HashMap<u64, usize> = ids.iter().map(|id| u64::from(*id)).zip(0..).collect();
        let number = |old: &Value| old.as_u64().and_then(|old| new.get(&old)).copied();
        let malformed = |error: serde_json::Error| TokenizerError::Malformed(error.to_string());
        let mut file: Value = serde_json::from_str(&self.to_json()).map_err(malformed)?;
        let vocabulary: Map<String, Value> = file["model"]["vocab"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, id)| Some((name.clone(), number(id)?.into())))
            .collect();
        let known = |name: &str| vocabulary.contains_key(name);
        if let Some(merges) = file["model"]["merges"].as_array_mut() {
            merges.retain(|merge| {
                let pair = match merge.as_str() {
                    Some(both) => both.split_once(' '),
                    None => merge[0].as_str().zip(merge[1].as_str()),
                };
                pair.is_some_and(|(left, right)| {
                    known(left) && known(right) && known(&format!("{left}{right}"))
                })
            });
        }
        file["model"]["vocab"] = vocabulary.into();
        for token in file["added_tokens"].as_array_mut().into_iter().flatten() {
            let id = number(&token["id"]);
            token["id"] = id.into();
        }
        // They may name tokens by number, and nothing here asks for them.
        file["post_processor"] = Value::Null;
        file["padding"] = Value::Null;
        Ok(file.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CORPUS: [&str; 3] =
        ["the cat sat on the mat, the cat sat", "the hat of the cat cost 1234 1234", "naïve naïve"];

    fn whole() -> Tokenizer {
        Tokenizer::train(CORPUS, 285).unwrap()
    }

    fn uses(tokenizer: &Tokenizer, texts: &[&str]) -> Vec<u64> {
        let mut uses = vec![0; tokenizer.vocab_size()];
        let ids = texts.iter().flat_map(|text| tokenizer.encode(text));
        ids.for_each(|id| uses[id as usize] += 1);
        uses
    }

    #[test]
    fn what_texts_use_stays_and_is_cut_as_before() {
        let whole = whole();
        let uses = uses(&whole, &["the cat sat"]);
        let (smaller, ids) = whole.with_most_used(&uses, 269).unwrap();
        assert_eq!(smaller.vocab_size(), 269);
        let old = |text: &str| -> Vec<u32> {
            smaller.encode(text).into_iter().map(|id| ids[id as usize]).collect()
        };
        assert_eq!(old("the cat sat"), whole.encode("the cat sat"));
        assert!(smaller.encode(" naïve").len() > whole.encode(" naïve").len());
        assert_eq!(ids[smaller.end_id() as usize], whole.end_id());
        assert_eq!(smaller.special_id("<|assistant|>"), whole.special_id("<|assistant|>"));
    }

    #[test]
    fn bytes_and_special_tokens_stay_whatever_is_asked_for() {
        let whole = whole();
        let message = whole.with_most_used(&[], 260).unwrap_err().to_string();
        assert!(message.contains("260") && message.contains("261"), "{message}");
        let (bytes, _) = whole.with_most_used(&[], 261).unwrap();
        assert_eq!(bytes.encode(" naïve").len(), " naïve".len());
        let (same, ids) = whole.with_most_used(&[], 10_000).unwrap();
        assert_eq!(ids, (0..whole.vocab_size() as u32).collect::<Vec<_>>());
        assert_eq!(same.encode(CORPUS[0]), whole.encode(CORPUS[0]));
    }

    #[test]
    fn an_end_token_that_stands_in_the_plain_vocabulary_stays() {
        let mut file: Value = serde_json::from_str(&whole().to_json()).unwrap();
        let added = file["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| token["content"] != "<|end|>");
        file["padding"] = serde_json::json!({"pad_id": 284});
        let plain = Tokenizer::from_json(&file.to_string()).unwrap();
        let (smaller, ids) = plain.with_most_used(&[], 261).unwrap();
        assert_eq!(ids[smaller.end_id() as usize], plain.end_id());
        assert!(smaller.to_json().contains(r#""padding":null"#));
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_fewer_tokens(
            text in any::<String>(),
            size in 261_usize..290,
            uses in prop::collection::vec(0_u64..9, 285),
        ) {
            let (smaller, ids) = whole().with_most_used(&uses, size).unwrap();
            prop_assert!(smaller.vocab_size() <= size);
            let tokens = smaller.encode(&text);
            prop_assert_eq!(smaller.decode(&tokens), text.clone());
            let old: Vec<u32> = tokens.iter().map(|id| ids[*id as usize]).collect();
            prop_assert_eq!(whole().decode(&old), text);
        }
    }
}
