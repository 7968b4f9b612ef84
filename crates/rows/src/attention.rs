//! What one new query sees of all positions so far.

use crate::pointwise::softmax;
use crate::product::dot;

/// Keys or values of one layer: a head's positions one after another, with room for more; zero before they are written.
/// `[H, T, D]`, H key heads, T the capacity, D the width of a head.
#[derive(Debug, Clone)]
pub struct Heads {
    numbers: Vec<f32>,
    width: usize,
    capacity: usize,
}

impl Heads {
    /// Room for `capacity` positions of heads this wide.
    pub fn new(n_heads: usize, width: usize, capacity: usize) -> Self {
        Self { numbers: vec![0.0; n_heads * capacity * width], width, capacity }
    }

    /// Writes each head's numbers at a position. `[H * D]`
    ///
    /// # Panics
    /// If there is no room.
    pub fn write(&mut self, position: usize, row: &[f32]) {
        assert!(position < self.capacity, "the cache holds {} positions", self.capacity);
        let of_heads = self.numbers.chunks_exact_mut(self.width * self.capacity);
        for (all, own) in of_heads.zip(row.chunks_exact(self.width)) {
            all[position * self.width..][..self.width].copy_from_slice(own);
        }
    }

    /// The first `length` positions of a head, one after another.
    fn positions(&self, head: usize, length: usize) -> impl Iterator<Item = &[f32]> {
        let all = &self.numbers[head * self.width * self.capacity..];
        all[..length * self.width].chunks_exact(self.width)
    }
}

/// Softmax attention of one query to the first `length` positions; consecutive query heads share a key
/// head. `[H * D] -> [H * D]`
///
/// Source: Vaswani et al. 2017; Ainslie et al. 2023 for grouped queries.
pub fn attend(query: &[f32], keys: &Heads, values: &Heads, length: usize) -> Vec<f32> {
    let (width, n_heads) = (keys.width, query.len() / keys.width);
    let group = n_heads * width * keys.capacity / keys.numbers.len();
    let scale = (width as f32).sqrt().recip();
    let mut context = vec![0.0; query.len()];
    let heads = query.chunks_exact(width).zip(context.chunks_exact_mut(width));
    for (head, (query, context)) in heads.enumerate() {
        let keys = keys.positions(head / group, length);
        let mut weights: Vec<f32> = keys.map(|key| dot(query, key) * scale).collect();
        softmax(&mut weights);
        for (weight, value) in weights.iter().zip(values.positions(head / group, length)) {
            context.iter_mut().zip(value).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_give_the_mean_of_the_values() {
        let keys = Heads::new(2, 2, 3);
        let mut values = Heads::new(2, 2, 3);
        values.write(2, &[f32::NAN; 4]);
        values.write(0, &[1.0, 2.0, 3.0, 4.0]);
        values.write(1, &[3.0, 6.0, 5.0, 0.0]);
        // Four query heads share two key heads; what was not written is not read.
        let context = attend(&[0.5; 8], &keys, &values, 2);
        assert_eq!(context, [2.0, 4.0, 2.0, 4.0, 4.0, 2.0, 4.0, 2.0]);
    }

    #[test]
    fn a_key_that_fits_better_weighs_more() {
        let mut keys = Heads::new(1, 1, 4);
        let mut values = Heads::new(1, 1, 4);
        for (position, number) in [0.0, 1.0].into_iter().enumerate() {
            keys.write(position, &[number]);
            values.write(position, &[number]);
        }
        let context = attend(&[3.0_f32.ln()], &keys, &values, 2);
        assert!((context[0] - 0.75).abs() < 1e-6, "{context:?}");
    }

    #[test]
    #[should_panic(expected = "holds 1 positions")]
    fn a_full_cache_takes_no_more() {
        Heads::new(1, 2, 1).write(1, &[0.0, 0.0]);
    }
}
