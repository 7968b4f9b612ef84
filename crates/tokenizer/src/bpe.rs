//! Byte-pair encoding: the bytes of a word to token ids, by the merges of a vocabulary.
//!
//! The earliest merge goes first, among equals the leftmost. A queue keeps the time of a word of n
//! bytes to n log n, since a text without spaces is one long word.
//!
//! Source: Sennrich, Haddow and Birch 2016; Radford et al. 2019 (GPT-2), `encoder.py`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The merges of a vocabulary.
#[derive(Clone, Debug)]
pub(crate) struct Bpe {
    /// The token of each byte; none where the vocabulary lacks it.
    pub(crate) bytes: [Option<u32>; 256],
    /// Rank and outcome of each pair that merges.
    pub(crate) merges: HashMap<(u32, u32), (u32, u32)>,
    /// Words that are a token whatever the merges say; empty where the file does not ask for it.
    pub(crate) whole: HashMap<Vec<u8>, u32>,
}

/// A piece of a word, in a list linked by positions.
struct Piece {
    id: u32,
    before: Option<usize>,
    after: Option<usize>,
    /// Whether it became a part of the piece before it.
    gone: bool,
}

/// A merge that waits: rank, position of its left piece, the two ids as they were.
type Waiting = Reverse<(u32, usize, (u32, u32))>;

impl Bpe {
    /// Appends the tokens of a word. A byte that the vocabulary lacks is left out: the unknown token that
    /// Hugging Face writes is often a special one, which no text may hold.
    pub(crate) fn encode(&self, word: &[u8], ids: &mut Vec<u32>) {
        if let Some(id) = self.whole.get(word) {
            ids.push(*id);
            return;
        }
        let known: Vec<u32> = word.iter().filter_map(|byte| self.bytes[*byte as usize]).collect();
        let mut pieces: Vec<Piece> = known
            .iter()
            .enumerate()
            .map(|(at, id)| Piece {
                id: *id,
                before: at.checked_sub(1),
                after: Some(at + 1).filter(|after| *after < known.len()),
                gone: false,
            })
            .collect();
        let mut queue: BinaryHeap<Waiting> =
            (0..pieces.len()).filter_map(|at| self.waiting(&pieces, at)).collect();
        while let Some(Reverse((_, at, pair))) = queue.pop() {
            let Some(after) = pieces[at].after.filter(|_| !pieces[at].gone) else { continue };
            if (pieces[at].id, pieces[after].id) != pair {
                continue;
            }
            pieces[at].id = self.merges[&pair].1;
            pieces[at].after = pieces[after].after;
            pieces[after].gone = true;
            if let Some(next) = pieces[at].after {
                pieces[next].before = Some(at);
            }
            queue.extend(self.waiting(&pieces, at));
            queue.extend(pieces[at].before.and_then(|before| self.waiting(&pieces, before)));
        }
        ids.extend(pieces.iter().filter(|piece| !piece.gone).map(|piece| piece.id));
    }

    /// The merge of the piece at a position with the one after it, if there is one.
    fn waiting(&self, pieces: &[Piece], at: usize) -> Option<Waiting> {
        let pair = (pieces[at].id, pieces[pieces[at].after?].id);
        self.merges.get(&pair).map(|(rank, _)| Reverse((*rank, at, pair)))
    }
}
