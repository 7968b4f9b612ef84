//! Numbers rounded block by block: 32 of a row share a scale, and a minimum where they have no sign.
//!
//! Symmetric: whole numbers with a sign times a scale, so that zero stays zero. Affine: whole numbers times a scale, and
//! a minimum, so that the whole range is used where it lies to one side. In 8 bits a block's range is kept; in 4 bits
//! of some narrower ranges the one is taken whose squared error is least, each number weighed by how much its input counts.
//! Where the second moments of the inputs are known, what is lost by one is made up for by those after it.
//! Source: Q8_0, Q4_0 and Q4_1 of ggml for the blocks.

use burn::tensor::f16;

use super::feedback::Feedback;
use crate::model::hugging_face::packed::BLOCK;

/// Shares of a block's range that are tried in 4 bits.
const RANGES: [f32; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7];

/// The range itself.
const WHOLE: [f32; 1] = [1.0];

/// The whole numbers that a block may have; symmetric where they have a sign.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    least: f32,
    pub(super) most: f32,
    /// Shares of the range that are tried.
    ranges: &'static [f32],
}

pub(super) const INT8: Grid = Grid { least: -127.0, most: 127.0, ranges: &WHOLE };
pub(super) const INT8_AFFINE: Grid = Grid { least: 0.0, most: 255.0, ranges: &WHOLE };
pub(super) const INT4: Grid = Grid { least: 0.0, most: 15.0, ranges: &RANGES };
pub(super) const INT4_SYMMETRIC: Grid = Grid { least: -7.0, most: 7.0, ranges: &RANGES };

/// How the inputs of a matrix stand in for each other, and where its numbers meet them.
#[derive(Clone, Copy)]
pub(super) enum Inputs<'a> {
    /// A row holds one number for each input.
    AlongRows(&'a Feedback),
    /// A row holds all numbers of one input.
    AlongColumns(&'a Feedback),
}

/// Scale and minimum of a block, as half precision holds them.
#[derive(Clone, Copy)]
struct Range {
    scale: f32,
    minimum: f32,
}

/// The blocks of a matrix.
#[derive(Default)]
pub(super) struct Blocks {
    pub(super) scales: Vec<f32>,
    /// 0 where the grid is symmetric.
    pub(super) minima: Vec<f32>,
    /// Those with a sign in two's complement.
    pub(super) numbers: Vec<u8>,
}

/// The rows of a matrix, each of whole blocks.
pub(super) fn rounded(
    mut values: Vec<f32>,
    width: usize,
    grid: Grid,
    inputs: Option<Inputs<'_>>,
) -> Blocks {
    let mut blocks = Blocks::default();
    match inputs {
        None => drop(blocks.add(grid, &values)),
        Some(Inputs::AlongRows(feedback)) => {
            for row in values.chunks_exact_mut(width) {
                blocks.add_output(grid, row, feedback);
            }
        }
        Some(Inputs::AlongColumns(feedback)) => {
            for place in 0..values.len() / width {
                let (row, later) = values[place * width..].split_at_mut(width);
                let lost = blocks.add(grid, row);
                let later = later.chunks_exact_mut(width);
                later.zip(feedback.shares(place)).for_each(|(row, share)| add(row, *share, &lost));
            }
        }
    }
    blocks
}

impl Blocks {
    /// Whole blocks, each for itself; what each number lost.
    fn add(&mut self, grid: Grid, values: &[f32]) -> Vec<f32> {
        let mut lost = Vec::with_capacity(values.len());
        for block in values.chunks_exact(BLOCK) {
            let range = self.begin(grid, block, &[1.0; BLOCK]);
            lost.extend(block.iter().map(|value| self.push(grid, range, *value)));
        }
        lost
    }

    /// The numbers of one output, one for each input.
    fn add_output(&mut self, grid: Grid, row: &mut [f32], feedback: &Feedback) {
        for first in (0..row.len()).step_by(BLOCK) {
            let block = first..first + BLOCK;
            let range = self.begin(grid, &row[block.clone()], &feedback.costs[block.clone()]);
            for place in block {
                let lost = self.push(grid, range, row[place]);
                add(&mut row[place + 1..], lost, feedback.shares(place));
            }
        }
    }

    fn begin(&mut self, grid: Grid, block: &[f32], costs: &[f32]) -> Range {
        let range = grid.range(block, costs);
        self.scales.push(range.scale);
        self.minima.push(range.minimum);
        range
    }

    /// Adds a number of the block that was begun last; what it lost.
    fn push(&mut self, grid: Grid, range: Range, value: f32) -> f32 {
        let number = grid.whole(value, range);
        self.numbers.push(number as i16 as u8);
        value - range.value(number)
    }
}

/// `to += factor * what`
fn add(to: &mut [f32], factor: f32, what: &[f32]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += factor * what);
}

impl Range {
    fn value(self, number: f32) -> f32 {
        number * self.scale + self.minimum
    }
}

impl Grid {
    pub(super) fn is_symmetric(&self) -> bool {
        self.least < 0.0
    }

    /// Of those tried the one that costs least; `costs` of the square of each number's error.
    fn range(&self, block: &[f32], costs: &[f32]) -> Range {
        let least = block.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let of_share = |share: f32| {
            if self.is_symmetric() {
                let scale = in_half(share * greatest.max(-least) / self.most);
                return Range { scale, minimum: 0.0 };
            }
            let (middle, range) = (0.5 * (least + greatest), share * (greatest - least));
            let (scale, minimum) = (range / self.most, middle - 0.5 * range);
            Range { scale: in_half(scale), minimum: in_half(minimum) }
        };
        let cost = |range: Range| {
            let costs = block.iter().zip(costs).map(|(value, cost)| {
                let lost = value - range.value(self.whole(*value, range));
                cost * lost * lost
            });
            costs.sum::<f32>()
        };
        let tried = self.ranges.iter().map(|share| of_share(*share));
        let tried = tried.map(|range| (cost(range), range));
        let best = tried.reduce(|best, next| if next.0 < best.0 { next } else { best });
        best.expect("some range is tried").1
    }

    fn whole(&self, value: f32, Range { scale, minimum }: Range) -> f32 {
        let number = (value - minimum) / scale;
        // A block of equal numbers has scale 0 and any number.
        if number.is_nan() { 0.0 } else { number.round().clamp(self.least, self.most) }
    }
}

/// Scale and whole numbers of a block in 8 bits, in two's complement.
pub(crate) fn eight_bits(block: &[f32]) -> (f32, Vec<u8>) {
    let Blocks { scales, numbers, .. } = rounded(block.to_vec(), BLOCK, INT8, None);
    (scales[0], numbers)
}

/// Scale, minimum and whole numbers of a block in 4 bits.
pub(crate) fn four_bits(block: &[f32]) -> (f32, f32, Vec<u8>) {
    let Blocks { scales, minima, numbers } = rounded(block.to_vec(), BLOCK, INT4, None);
    (scales[0], minima[0], numbers)
}

fn in_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_along_columns_are_made_up_for_as_those_along_rows() {
        let size = BLOCK;
        let inputs: Vec<f32> = (0..size).map(|place| (place as f32 * 0.7).sin()).collect();
        let moments: Vec<f32> =
            (0..size * size).map(|place| inputs[place / size] * inputs[place % size]).collect();
        let feedback = Feedback::of(&moments, size);
        let grid = Grid { least: -1.0, most: 1.0, ranges: &WHOLE };
        // The largest of every row and column is 1.
        let value = |input: usize, output: usize| match (input + output) % size {
            0 => 1.0,
            rest => 0.4 * (rest as f32 * 1.3).cos(),
        };
        let cells = |of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
            (0..size * size).map(|place| of(place / size, place % size)).collect()
        };
        let by_output = cells(&|output, input| value(input, output));
        let by_input = cells(&|input, output| value(input, output));
        let rows = rounded(by_output, size, grid, Some(Inputs::AlongRows(&feedback)));
        let columns = rounded(by_input, size, grid, Some(Inputs::AlongColumns(&feedback)));
        let lost = |number: &dyn Fn(usize, usize) -> f32| -> f32 {
            let output = |output: usize| {
                let error = |input| (value(input, output) - number(input, output)) * inputs[input];
                (0..size).map(error).sum::<f32>().powi(2)
            };
            (0..size).map(output).sum()
        };
        let read = |blocks: &Blocks, row: usize, column: usize| {
            f32::from(blocks.numbers[row * size + column] as i8) * blocks.scales[row]
        };
        let plain = rounded(cells(&|o, i| value(i, o)), size, grid, None);
        let plain = lost(&|input, output| read(&plain, output, input));
        let rows = lost(&|input, output| read(&rows, output, input));
        let columns = lost(&|input, output| read(&columns, input, output));
        assert!(rows < 0.1 * plain && columns < 0.1 * plain, "{plain} {rows} {columns}");
    }
}
