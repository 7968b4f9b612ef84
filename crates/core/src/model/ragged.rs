//! Ragged batches: a prompt that several completions share is read once, and nothing is padded but in attention.
//!
//! All tokens stand in one row behind each other, so that norms, projections and feed-forward layers see each once. In attention
//! they are laid out as two rectangles, of prompts and of completions, whose queries also see the keys of their prompt. The last
//! token of a prompt stands with each completion, whose first token it chooses.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::attention::Visibility;
use super::tokens::{PaddingSide, Tokens, distinct, indices};
use super::transformer::{Transformer, causal};

/// Prompts with their completions, as plain data.
#[derive(Debug)]
pub(crate) struct Ragged {
    /// Different prompts without their last token.
    prompts: Vec<Vec<u32>>,
    /// For each completion its prompt.
    of: Vec<usize>,
    /// What is read of each completion: the last token of its prompt and all but its own last one.
    completions: Vec<Vec<u32>>,
}

/// How attention lays a ragged batch out. P prompts and B completions, at most Tp and T tokens of each; N tokens in all.
#[derive(Debug, Clone)]
pub struct Layout {
    prompts: Rectangle,
    completions: Rectangle,
    /// The prompt of each completion. `[B]`
    of: Tensor<1, Int>,
    /// Where each token stands in the rectangles, those of prompts first. `[N]`
    back: Tensor<1, Int>,
}

/// Sequences side by side, padded on the right.
#[derive(Debug, Clone)]
struct Rectangle {
    /// Rows and columns.
    dims: [usize; 2],
    /// The token at each place; any where there is none. `[rows * columns]`
    tokens: Tensor<1, Int>,
    /// What the tokens see.
    visibility: Visibility,
}

impl Ragged {
    /// The batch, if it saves at least an eighth of the places of one padded rectangle, and the model allows it:
    /// learned embeddings and keys stand before whole sequences.
    pub(crate) fn of(model: &Transformer, pairs: &[(&[u32], &[u32])]) -> Option<Self> {
        if model.prompt_length() + model.prefix_length() > 0 {
            return None;
        }
        let (prompts, of) = distinct(pairs.iter().map(|(prompt, _)| *prompt));
        let prompts: Vec<Vec<u32>> =
            prompts.into_iter().map(|prompt| prompt[..prompt.len() - 1].to_vec()).collect();
        let completions: Vec<Vec<u32>> = pairs
            .iter()
            .map(|(prompt, completion)| {
                let read = &completion[..completion.len().saturating_sub(1)];
                let last = &prompt[prompt.len() - 1..];
                let last = if completion.is_empty() { &[] } else { last };
                [last, read].concat()
            })
            .collect();
        let longest = pairs.iter().map(|(prompt, completion)| prompt.len() + completion.len() - 1);
        let padded = pairs.len() * longest.max()?;
        let sum = |rows: &[Vec<u32>]| rows.iter().map(Vec::len).sum::<usize>();
        let saves = 8 * (sum(&prompts) + sum(&completions)) <= 7 * padded;
        (saves && sum(&prompts) > 0).then_some(Self { prompts, of, completions })
    }

    /// All tokens in one row, each at the place in its own sequence.
    fn tokens(&self, device: &Device) -> Tokens {
        let row = [self.prompts.concat(), self.completions.concat()].concat();
        let begin = self.prompts.iter().map(|prompt| (0, prompt));
        let behind = self.of.iter().map(|prompt| self.prompts[*prompt].len());
        let positions = begin
            .chain(behind.zip(&self.completions))
            .flat_map(|(first, row)| (first as i32)..(first + row.len()) as i32);
        let positions = TensorData::new(positions.collect::<Vec<i32>>(), [1, row.len()]);
        let positions = Tensor::from_data(positions, device);
        Tokens { positions, ..Tokens::new(&[&row], PaddingSide::Right, device) }
    }

    fn layout(&self, like: &Tensor<3>) -> Layout {
        let device = like.device();
        let prompts = Rows::of(&self.prompts, 0);
        let completions = Rows::of(&self.completions, prompts.lengths.iter().sum());
        let (count, time, before) = (completions.lengths.len(), completions.time, prompts.time);
        let of_each = self.of.iter().map(|of| prompts.lengths[*of]).collect();
        let of_each = Rows { lengths: of_each, ..prompts };
        let others = of_each.padding(&device).reshape([count, 1, 1, before]);
        let within = causal(time, Some(completions.padding(&device)), like);
        let sees = Tensor::cat(vec![others.expand([count, 1, time, before]), within], 3);
        let back = prompts.places(0).chain(completions.places(prompts.lengths.len() * before));
        Layout {
            of: indices(self.of.iter().copied(), &device),
            back: indices(back, &device),
            prompts: prompts.rectangle(causal(before, Some(prompts.padding(&device)), like), like),
            completions: completions.rectangle(sees, like),
        }
    }
}

/// The rows of a rectangle, on the host.
#[derive(Debug)]
struct Rows {
    /// Tokens of each.
    lengths: Vec<usize>,
    /// Where the tokens of the first one begin.
    first: usize,
    /// Columns.
    time: usize,
}

impl Rows {
    fn of(sequences: &[Vec<u32>], first: usize) -> Self {
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        Self { lengths, first, time }
    }

    /// True where there is no token. `[rows, columns]`
    fn padding(&self, device: &Device) -> Tensor<2, Bool> {
        let row = |length: &usize| (0..self.time).map(|place| place >= *length).collect::<Vec<_>>();
        let none: Vec<bool> = self.lengths.iter().flat_map(row).collect();
        Tensor::from_data(TensorData::new(none, [self.lengths.len(), self.time]), device)
    }

    /// Where each token stands in a rectangle that begins at place `offset`.
    fn places(&self, offset: usize) -> impl Iterator<Item = usize> {
        let rows = self.lengths.iter().enumerate();
        rows.flat_map(move |(row, length)| {
            let begin = offset + row * self.time;
            begin..begin + length
        })
    }

    fn rectangle(&self, sees: Tensor<4, Bool>, like: &Tensor<3>) -> Rectangle {
        let mut tokens = vec![0; self.lengths.len() * self.time];
        self.places(0).zip(self.first..).for_each(|(place, token)| tokens[place] = token);
        Rectangle {
            dims: [self.lengths.len(), self.time],
            tokens: indices(tokens, &like.device()),
            visibility: Visibility::new(sees, like),
        }
    }
}

impl Rectangle {
    /// What is projected of each place. `[1, H, N, d_head] -> [rows, H, columns, d_head]`
    fn of(&self, projected: &Tensor<4>) -> Tensor<4> {
        let [_, heads, count, width] = projected.dims();
        let [rows, time] = self.dims;
        // Whole tokens, as they were projected: without rotary positions nothing is copied to come to them.
        let flat = projected.clone().swap_dims(1, 2).reshape([count, heads * width]);
        let places = flat.select(0, self.tokens.clone());
        places.reshape([rows, time, heads, width]).swap_dims(1, 2)
    }
}

impl Layout {
    /// What each token reads of its own sequence and of the prompt before it. `attend` takes queries, keys, values and what is
    /// seen, and joins the heads: `[R, H, T, d], [R, K, S, d] twice -> [R, T, H * d]`. `[1, H, N, d] -> [1, N, H * d]`
    pub(super) fn attend(
        &self,
        [query, key, value]: [Tensor<4>; 3],
        attend: impl Fn([Tensor<4>; 3], &Visibility) -> Tensor<3>,
    ) -> Tensor<3> {
        let rows = |of: &Rectangle| [of.of(&query), of.of(&key), of.of(&value)];
        let [asked, known, said] = rows(&self.prompts);
        let [query, key, value] = rows(&self.completions);
        let behind = |before: &Tensor<4>, own: Tensor<4>| {
            Tensor::cat(vec![before.clone().select(0, self.of.clone()), own], 2)
        };
        let completions = [query, behind(&known, key), behind(&said, value)];
        let flat = |read: Tensor<3>| {
            let [rows, time, width] = read.dims();
            read.reshape([rows * time, width])
        };
        let both = vec![
            flat(attend([asked, known, said], &self.prompts.visibility)),
            flat(attend(completions, &self.completions.visibility)),
        ];
        Tensor::cat(both, 0).select(0, self.back.clone()).unsqueeze()
    }
}

impl Transformer {
    /// Final hidden states of what is read of the completions, one after the other. `-> [N, D]`
    ///
    /// # Panics
    /// If a sequence is longer than the context.
    pub(crate) fn hidden_ragged(&self, ragged: &Ragged) -> Tensor<2> {
        let of_each = ragged.of.iter().zip(&ragged.completions);
        let longest = of_each.map(|(of, row)| ragged.prompts[*of].len() + row.len()).max();
        let (longest, context) = (longest.unwrap_or(0), self.config().context_length);
        assert!(longest <= context, "{longest} positions in a context of {context}");
        let tokens = ragged.tokens(&self.device());
        let stream = self.place(self.look_up(&tokens), &tokens.positions);
        let layout = ragged.layout(&stream);
        let rotation = self.rotation(&tokens.positions, stream.dtype());
        let blocks = self.blocks.iter();
        let stream =
            blocks.fold(stream, |stream, block| block.forward(stream, rotation.as_ref(), &layout));
        let before = ragged.prompts.iter().map(Vec::len).sum();
        let [_, total, _] = stream.dims();
        self.norm.forward(stream.narrow(1, before, total - before)).squeeze_dim(0)
    }
}
