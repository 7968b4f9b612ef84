//! A matrix in 8 bits, and one row times it: decoding reads every weight once a token, so that a quarter of
//! the bytes is nearly a quarter of the time.
//!
//! 32 numbers of a column share one factor. They are unpacked where they are multiplied, in registers; the
//! row stays f32, so that nothing but the weights is rounded.

use std::ops::Range;

/// Numbers that share a factor.
const BLOCK: usize = 32;

/// `[K, N]` in levels of 8 bits, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    levels: Vec<i8>,
    /// Of each block of each column.
    factors: Vec<f32>,
    height: usize,
}

impl Packed {
    /// Packs a matrix that lies column by column: a column's last block may be shorter. The largest of a block
    /// becomes 127 or -127. `[K, N]`
    ///
    /// # Panics
    /// If `height`, which is K, does not divide the numbers.
    pub fn new(matrix: &[f32], height: usize) -> Self {
        assert!(height > 0 && matrix.len().is_multiple_of(height), "whole columns of {height}");
        let mut packed =
            Self { levels: Vec::with_capacity(matrix.len()), factors: Vec::new(), height };
        let blocks = matrix.chunks_exact(height).flat_map(|column| column.chunks(BLOCK));
        for block in blocks {
            let largest = block.iter().fold(0.0_f32, |largest, one| largest.max(one.abs()));
            let factor = largest / 127.0;
            let level = |one: &f32| if factor > 0.0 { (one / factor).round() as i8 } else { 0 };
            packed.levels.extend(block.iter().map(level));
            packed.factors.push(factor);
        }
        packed
    }

    /// N.
    pub fn n_columns(&self) -> usize {
        self.levels.len() / self.height
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.levels.len() + 4 * self.factors.len()
    }

    /// `row [K] x matrix [K, N]`, of some columns.
    ///
    /// # Panics
    /// If the lengths do not fit each other.
    pub fn times(&self, row: &[f32], columns: Range<usize>) -> Vec<f32> {
        assert_eq!(row.len(), self.height, "[K] and [K, N]");
        let products = Products { packed: self, row, columns };
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = pulp::x86::V3::try_new() {
            return pulp::Simd::vectorize(wide, products);
        }
        products.all()
    }
}

/// A product to be computed.
struct Products<'a> {
    packed: &'a Packed,
    row: &'a [f32],
    columns: Range<usize>,
}

impl Products<'_> {
    /// Inlined into what is compiled for the processor at hand; so a loop, since what an iterator is given would
    /// be compiled apart.
    #[inline(always)]
    fn all(self) -> Vec<f32> {
        let Packed { levels, factors, height } = self.packed;
        let blocks = height.div_ceil(BLOCK);
        let mut products = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            let levels = &levels[column * height..][..*height];
            products.push(dot(self.row, levels, &factors[column * blocks..][..blocks]));
        }
        products
    }
}

#[cfg(target_arch = "x86_64")]
impl pulp::WithSimd for Products<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
        self.all()
    }
}

/// 32 sums at once, so that compilers find vectors of any width.
#[inline(always)]
fn dot(row: &[f32], levels: &[i8], factors: &[f32]) -> f32 {
    let (rows, last_row) = row.as_chunks::<BLOCK>();
    let (blocks, last_block) = levels.as_chunks::<BLOCK>();
    let mut sums = [0.0_f32; BLOCK];
    for ((row, block), factor) in rows.iter().zip(blocks).zip(factors) {
        for at in 0..BLOCK {
            sums[at] += row[at] * f32::from(block[at]) * factor;
        }
    }
    let rest: f32 =
        last_row.iter().zip(last_block).map(|(one, level)| one * f32::from(*level)).sum();
    let rest = if last_row.is_empty() { 0.0 } else { rest * factors[rows.len()] };
    // Halves onto halves: one sum after the other would wait for each.
    for half in [16, 8, 4, 2, 1] {
        for at in 0..half {
            sums[at] += sums[at + half];
        }
    }
    sums[0] + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((seed + at * 7919) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    proptest! {
        #[test]
        fn the_product_is_that_of_what_was_packed(k in 1_usize..100, n in 0_usize..9, seed in 0_usize..1000) {
            let (row, columns) = (numbers(k, seed), numbers(n * k, seed + 17));
            let packed = Packed::new(&columns, k);
            let products = packed.times(&row, 0..n);
            let blocks = k.div_ceil(BLOCK);
            for (j, product) in products.into_iter().enumerate() {
                let exact: f64 = (0..k)
                    .map(|i| {
                        let factor = packed.factors[j * blocks + i / BLOCK];
                        f64::from(row[i]) * f64::from(packed.levels[j * k + i]) * f64::from(factor)
                    })
                    .sum();
                prop_assert!((f64::from(product) - exact).abs() < 1e-5, "{product} and {exact}");
            }
        }

        #[test]
        fn packing_loses_at_most_half_a_level(k in 1_usize..100, n in 1_usize..4, seed in 0_usize..1000) {
            let columns = numbers(n * k, seed);
            let packed = Packed::new(&columns, k);
            let blocks = k.div_ceil(BLOCK);
            for (at, one) in columns.iter().enumerate() {
                let factor = packed.factors[at / k * blocks + at % k / BLOCK];
                let back = f32::from(packed.levels[at]) * factor;
                prop_assert!((back - one).abs() <= factor * 0.5001, "{one} became {back}");
            }
        }
    }

    #[test]
    fn columns_are_taken_from_anywhere_and_zeros_stay_zeros() {
        let packed = Packed::new(&[1.0, -2.0, 0.0, 0.0, 127.0, 0.0], 2);
        assert_eq!((packed.n_columns(), packed.bytes()), (3, 6 + 12));
        assert_eq!(packed.times(&[1.0, 1.0], 1..3), [0.0, 127.0]);
        assert!((packed.times(&[0.0, 1.0], 0..1)[0] + 2.0).abs() < 1e-6);
    }
}
