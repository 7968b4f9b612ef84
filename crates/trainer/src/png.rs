//! PNG files as red, green and blue: all color types of 1 to 8 bits, and 16 without their lower half.
//!
//! Transparent pixels stand on white. Leaves out: interlaced files, gamma, checksums of chunks (the one of
//! the pixels is checked).
//! Source: W3C, Portable Network Graphics specification, third edition.

use kudos_schema::CHANNELS;
use thiserror::Error;

/// The first bytes of every PNG file.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// No picture has more pixels; a larger number is damage or malice.
const MOST: usize = 1 << 26;

/// A picture of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue from 0 to 255, row by row.
    pub pixels: Vec<u8>,
}

/// Why a picture cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PngError {
    /// Other bytes.
    #[error("this is no PNG file: convert the picture")]
    NotPng,
    /// A kind of PNG that is not read.
    #[error("{0} PNG files are not read: save it anew without")]
    Kind(&'static str),
    /// The file ends early or contradicts itself.
    #[error("the PNG file is damaged ({0}): take it anew")]
    Damaged(&'static str),
}

/// What the header says.
struct Header {
    width: usize,
    height: usize,
    bits: usize,
    color: Color,
}

/// What the samples of a pixel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    Gray,
    Rgb,
    Indexed,
    GrayAlpha,
    Rgba,
}

/// The chunks that matter.
#[derive(Default)]
struct Chunks {
    palette: Vec<u8>,
    transparency: Vec<u8>,
    compressed: Vec<u8>,
}

impl Color {
    fn samples(self) -> usize {
        match self {
            Self::Gray | Self::Indexed => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// Reads a file.
///
/// # Errors
/// If it is no PNG file, damaged or of a kind that is not read.
pub fn decode(bytes: &[u8]) -> Result<Raster, PngError> {
    let bytes = bytes.strip_prefix(&SIGNATURE).ok_or(PngError::NotPng)?;
    let first = Chunk::first(bytes)?;
    if first.name != *b"IHDR" {
        return Err(PngError::Damaged("no header"));
    }
    let (header, chunks) = (Header::read(first.data)?, Chunks::read(first.rest)?);
    let data = fdeflate::decompress_to_vec_bounded(&chunks.compressed, header.filtered_length())
        .map_err(|_| PngError::Damaged("its pixels do not unpack"))?;
    let rows = header.unfilter(&data)?;
    header.pixels(&rows, &chunks)
}

/// A part of a file, and what follows it.
struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn first(bytes: &'a [u8]) -> Result<Self, PngError> {
        let cut = || PngError::Damaged("it ends early");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let (name, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (data, rest) =
            rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(cut)?;
        Ok(Self { name: *name, data, rest: rest.get(4..).ok_or_else(cut)? })
    }
}

impl Chunks {
    fn read(mut bytes: &[u8]) -> Result<Self, PngError> {
        let mut chunks = Self::default();
        loop {
            let Chunk { name, data, rest } = Chunk::first(bytes)?;
            match &name {
                b"PLTE" => chunks.palette = data.to_vec(),
                b"tRNS" => chunks.transparency = data.to_vec(),
                b"IDAT" => chunks.compressed.extend_from_slice(data),
                b"IEND" => return Ok(chunks),
                _ => {}
            }
            bytes = rest;
        }
    }
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, PngError> {
        let &[a, b, c, d, e, f, g, h, bits, color, _, _, interlaced] = data else {
            return Err(PngError::Damaged("its header has another length"));
        };
        if interlaced != 0 {
            return Err(PngError::Kind("interlaced"));
        }
        let side = |bytes| u32::from_be_bytes(bytes) as usize;
        let (width, height) = (side([a, b, c, d]), side([e, f, g, h]));
        if width == 0 || height == 0 || width.saturating_mul(height) > MOST {
            return Err(PngError::Damaged("its size is impossible"));
        }
        let color = match (color, bits) {
            (0, 1 | 2 | 4 | 8 | 16) => Color::Gray,
            (2, 8 | 16) => Color::Rgb,
            (3, 1 | 2 | 4 | 8) => Color::Indexed,
            (4, 8 | 16) => Color::GrayAlpha,
            (6, 8 | 16) => Color::Rgba,
            _ => return Err(PngError::Damaged("its colors are of no kind")),
        };
        Ok(Self { width, height, bits: usize::from(bits), color })
    }

    /// Bytes of a row without its filter.
    fn row_length(&self) -> usize {
        (self.width * self.color.samples() * self.bits).div_ceil(8)
    }

    fn filtered_length(&self) -> usize {
        self.height * (1 + self.row_length())
    }

    /// Takes the filters off: each byte is what its neighbors let expect, plus what is stored.
    fn unfilter(&self, data: &[u8]) -> Result<Vec<u8>, PngError> {
        let (length, back) = (self.row_length(), (self.color.samples() * self.bits).div_ceil(8));
        if data.len() != self.filtered_length() {
            return Err(PngError::Damaged("it has too few pixels"));
        }
        let mut rows: Vec<u8> = Vec::with_capacity(self.height * length);
        for row in data.chunks_exact(1 + length) {
            let start = rows.len();
            for (place, stored) in row[1..].iter().enumerate() {
                let at = |index: Option<usize>| index.map_or(0, |index| rows[index]);
                let left = at((place >= back).then(|| start + place - back));
                let up = at((start + place).checked_sub(length));
                let corner = (start + place).checked_sub(length + back);
                let corner = at(corner.filter(|_| place >= back));
                let expected = match row[0] {
                    0 => 0,
                    1 => left,
                    2 => up,
                    3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                    4 => paeth(left, up, corner),
                    _ => return Err(PngError::Damaged("a filter is unknown")),
                };
                rows.push(stored.wrapping_add(expected));
            }
        }
        Ok(rows)
    }

    fn pixels(&self, rows: &[u8], chunks: &Chunks) -> Result<Raster, PngError> {
        let (samples, bits) = (self.color.samples(), self.bits);
        let sample = |row: &[u8], index: usize| match bits {
            8 => row[index],
            16 => row[2 * index],
            _ => row[index * bits / 8] >> (8 - bits - index * bits % 8) & ((1 << bits) - 1),
        };
        let full = if bits < 8 { 255 / ((1 << bits) - 1) } else { 1 };
        let mut pixels = Vec::with_capacity(CHANNELS * self.width * self.height);
        for row in rows.chunks_exact(self.row_length()) {
            for x in 0..self.width {
                let one = |channel: usize| sample(row, x * samples + channel);
                let (rgb, alpha) = match self.color {
                    Color::Gray => ([one(0) * full; 3], 255),
                    Color::GrayAlpha => ([one(0); 3], one(1)),
                    Color::Rgb => ([one(0), one(1), one(2)], 255),
                    Color::Rgba => ([one(0), one(1), one(2)], one(3)),
                    Color::Indexed => chunks.color(usize::from(one(0)))?,
                };
                pixels.extend(rgb.map(|value| on_white(value, alpha)));
            }
        }
        Ok(Raster { width: self.width, height: self.height, pixels })
    }
}

impl Chunks {
    /// A color of the palette and how opaque it is.
    fn color(&self, index: usize) -> Result<([u8; CHANNELS], u8), PngError> {
        let color = self.palette.get(3 * index..3 * index + 3);
        let color = color.ok_or(PngError::Damaged("its palette lacks a color"))?;
        let alpha = self.transparency.get(index).copied().unwrap_or(255);
        Ok(([color[0], color[1], color[2]], alpha))
    }
}

/// The neighbor that is nearest to `left + up - corner`.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |value: u8| (guess - i16::from(value)).abs();
    if distance(left) <= distance(up) && distance(left) <= distance(corner) {
        left
    } else if distance(up) <= distance(corner) {
        up
    } else {
        corner
    }
}

fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

impl Raster {
    fn pixel(&self, x: usize, y: usize) -> [u8; CHANNELS] {
        let first = CHANNELS * (y * self.width + x);
        [0, 1, 2].map(|channel| self.pixels[first + channel])
    }

    /// The square with this corner.
    ///
    /// # Panics
    /// If it does not lie inside.
    pub fn square(&self, (left, top): (usize, usize), size: usize) -> Vec<u8> {
        let rows = (top..top + size).map(|y| CHANNELS * (y * self.width + left));
        rows.flat_map(|first| self.pixels[first..first + CHANNELS * size].iter().copied()).collect()
    }

    /// A square of this size: the mean of the pixels that each new one covers.
    pub fn scaled(&self, size: usize) -> Vec<u8> {
        let covered = |place: usize, length: usize| {
            let first = place * length / size;
            first..((place + 1) * length).div_ceil(size).max(first + 1)
        };
        let mut pixels = Vec::with_capacity(CHANNELS * size * size);
        for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
            let mut sums = [0u32; CHANNELS];
            let (rows, columns) = (covered(y, self.height), covered(x, self.width));
            let count = (rows.len() * columns.len()) as u32;
            for (row, column) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
                let pixel = self.pixel(column, row);
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(value));
            }
            pixels.extend(sums.map(|sum| ((sum + count / 2) / count) as u8));
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_picture_has_the_means_of_what_it_covers() {
        let gray = |pixels: &[u8]| pixels.iter().flat_map(|value| [*value; 3]).collect::<Vec<_>>();
        let raster = Raster { width: 4, height: 2, pixels: gray(&[0, 2, 4, 8, 4, 6, 8, 8]) };
        assert_eq!(raster.scaled(2), gray(&[1, 6, 5, 8]));
        assert_eq!(raster.scaled(1), gray(&[5]));
        let one = Raster { width: 1, height: 1, pixels: gray(&[9]) };
        assert_eq!(one.scaled(2), gray(&[9; 4]));
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        files: Vec<File>,
        sheet: String,
    }

    #[derive(serde::Deserialize)]
    struct File {
        kind: String,
        file: Vec<u8>,
        pixels: Vec<u8>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../../tests/golden/png.json")).unwrap()
    }

    #[test]
    fn every_kind_of_file_has_the_pixels_that_pillow_reads() {
        for File { kind, file, pixels } in golden().files {
            let found = decode(&file).unwrap();
            assert_eq!((found.width, found.height), (9, 7), "{kind}");
            assert_eq!(found.pixels, pixels, "{kind}");
        }
    }

    #[test]
    fn the_emojis_have_the_pixels_that_pillow_reads() {
        let sheet = decode(include_bytes!("../../../data/emoji_sheet_32_q256.png")).unwrap();
        assert_eq!(kudos_core::bundle::sha256(&sheet.pixels), golden().sheet);
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_an_error_and_never_a_panic() {
        assert_eq!(decode(b"GIF89a").unwrap_err(), PngError::NotPng);
        for File { file, .. } in golden().files {
            for end in 0..file.len() - 12 {
                assert!(decode(&file[..end]).is_err());
            }
            for place in 0..file.len() {
                let mut changed = file.clone();
                changed[place] ^= 0x55;
                let _whatever = decode(&changed);
            }
        }
    }
}
