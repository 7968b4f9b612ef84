//! Kinds of stored numbers: plain ones, and blocks of small integers with a scale.
//!
//! A block is w = d q (and - m, or + m, where it has a minimum). The K kinds hold 256 numbers with eight or
//! sixteen scales of their own, which are integers again.
//!
//! Source: `ggml-quants.c`, whose layouts these are; `tests/golden/gguf_files.py`.

use burn::tensor::{bf16, f16};

/// A kind that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
}

impl Kind {
    /// By its number in the format.
    pub(super) fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Numbers and bytes of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of a tensor; none if its rows are no whole blocks or the sizes are beyond all measure.
    pub(super) fn size(self, shape: &[usize]) -> Option<usize> {
        let (numbers, bytes) = self.block();
        let row = shape.last().copied().filter(|row| row.is_multiple_of(numbers))?;
        let rows =
            shape[..shape.len() - 1].iter().try_fold(1_usize, |n, size| n.checked_mul(*size))?;
        (row / numbers).checked_mul(rows)?.checked_mul(bytes)
    }

    /// The numbers of whole blocks.
    pub(super) fn values(self, bytes: &[u8]) -> Vec<f32> {
        let (numbers, size) = self.block();
        let blocks = bytes.chunks_exact(size);
        let mut values = Vec::with_capacity(blocks.len() * numbers);
        for block in blocks {
            self.unpack(block, &mut values);
        }
        values
    }

    fn unpack(self, block: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
            Self::F16 => out.push(half(block, 0)),
            Self::Bf16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
            Self::Q8_0 => {
                let scale = half(block, 0);
                out.extend(block[2..].iter().map(|q| scale * f32::from(q.cast_signed())));
            }
            Self::Q4_0 => {
                let scale = half(block, 0);
                out.extend(nibbles(&block[2..]).map(|q| scale * (f32::from(q) - 8.0)));
            }
            Self::Q4_1 => {
                let (scale, least) = (half(block, 0), half(block, 2));
                out.extend(nibbles(&block[4..]).map(|q| scale * f32::from(q) + least));
            }
            Self::Q5_0 => {
                let scale = half(block, 0);
                let fifth = fifth_bits(&block[2..6]);
                let numbers = nibbles(&block[6..]).zip(fifth).map(|(q, bit)| q | bit);
                out.extend(numbers.map(|q| scale * (f32::from(q) - 16.0)));
            }
            Self::Q5_1 => {
                let (scale, least) = (half(block, 0), half(block, 2));
                let fifth = fifth_bits(&block[4..8]);
                let numbers = nibbles(&block[8..]).zip(fifth).map(|(q, bit)| q | bit);
                out.extend(numbers.map(|q| scale * f32::from(q) + least));
            }
            Self::Q4K => {
                let numbers = block[16..].chunks_exact(32).flat_map(nibbles);
                unpack_scaled(block, numbers, out);
            }
            Self::Q5K => {
                let fifth = (0..8)
                    .flat_map(|part| block[16..48].iter().map(move |bits| (bits >> part & 1) << 4));
                let numbers = block[48..].chunks_exact(32).flat_map(nibbles).zip(fifth);
                unpack_scaled(block, numbers.map(|(q, bit)| q | bit), out);
            }
            Self::Q6K => unpack_six(block, out),
        }
    }
}

/// The half-precision number at a place.
fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The low halves of all bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

/// The fifth bit of each of 32 numbers, in its place.
fn fifth_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (0..32).map(move |place| ((bits >> place & 1) as u8) << 4)
}

/// 256 numbers in eight runs of 32, each with a scale and a minimum of six bits: Q4_K and Q5_K.
fn unpack_scaled(block: &[u8], numbers: impl Iterator<Item = u8>, out: &mut Vec<f32>) {
    let (scale, least) = (half(block, 0), half(block, 2));
    let six = &block[4..16];
    let of_run = |run: usize| match run {
        0..4 => (six[run] & 63, six[run + 4] & 63),
        _ => (six[run + 4] & 15 | six[run - 4] >> 6 << 4, six[run + 4] >> 4 | six[run] >> 6 << 4),
    };
    for (place, number) in numbers.enumerate() {
        let (own, own_least) = of_run(place / 32);
        out.push(scale * f32::from(own) * f32::from(number) - least * f32::from(own_least));
    }
}

/// 256 numbers of six bits, sixteen runs with a signed scale each: Q6_K.
fn unpack_six(block: &[u8], out: &mut Vec<f32>) {
    let scale = half(block, 208);
    for part in 0..2 {
        let low = &block[part * 64..][..64];
        let high = &block[128 + part * 32..][..32];
        let scales = &block[192 + part * 8..][..8];
        for run in 0..4 {
            for place in 0..32 {
                let byte = low[place + run % 2 * 32];
                let four = if run < 2 { byte & 15 } else { byte >> 4 };
                let six = four | (high[place] >> (2 * run) & 3) << 4;
                let own = scales[run * 2 + place / 16].cast_signed();
                out.push(scale * f32::from(own) * (f32::from(six) - 32.0));
            }
        }
    }
}
