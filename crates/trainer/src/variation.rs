//! Pictures shown a little otherwise at every step: shifted, scaled, in other colors.
//!
//! What the edges leave free is white. Nothing is mirrored or turned, since names say directions.

use std::collections::BTreeMap;

use kudos_core::model::Pictures;
use kudos_schema::{CHANNELS, patch_ids, patch_of};
use rand::{Rng, RngExt};

/// How one picture is shown.
struct Showing {
    /// Pixels of the picture for each pixel shown.
    scale: f32,
    shift: [f32; 2],
    /// Factors of red, green and blue.
    colors: [f32; CHANNELS],
}

/// The pictures that some prompts look at, shown otherwise; the prompts are told their new places.
pub(crate) fn of_prompts<'a>(
    prompts: impl Iterator<Item = &'a mut Vec<u32>>,
    (pictures, strength): (&Pictures, f64),
    coins: &mut impl Rng,
) -> Pictures {
    let of_one = CHANNELS * pictures.size * pictures.size;
    let (mut places, mut pixels) = (BTreeMap::new(), Vec::new());
    for id in prompts.flatten() {
        let Some((picture, patch)) = patch_of(*id) else { continue };
        let next = places.len();
        let place = *places.entry(picture).or_insert(next);
        if place == next {
            pixels.extend_from_slice(&pictures.pixels[picture * of_one..(picture + 1) * of_one]);
        }
        *id = patch_ids(place, pictures.size)[patch];
    }
    varied(&Pictures { size: pictures.size, pixels }, strength, coins)
}

/// Each picture with coins of its own: shifted by up to `strength` of its size, scaled by up to that share, each color
/// weakened or strengthened by up to that.
fn varied(pictures: &Pictures, strength: f64, coins: &mut impl Rng) -> Pictures {
    let size = pictures.size;
    let mut draw = || (strength * (2.0 * coins.random::<f64>() - 1.0)) as f32;
    let shown = pictures.pixels.chunks_exact(CHANNELS * size * size).flat_map(|picture| {
        let scale = 1.0 + draw();
        let shift = [draw(), draw()].map(|share| share * size as f32);
        let colors = [draw(), draw(), draw()].map(|share| 1.0 + share);
        show(picture, size, &Showing { scale, shift, colors })
    });
    Pictures { size, pixels: shown.collect() }
}

fn show(picture: &[u8], size: usize, how: &Showing) -> Vec<u8> {
    let middle = (size as f32 - 1.0) / 2.0;
    let from = |place: usize, axis: usize| {
        let at = (place as f32 - middle) * how.scale + middle + how.shift[axis];
        let at = at.round();
        (at >= 0.0 && at < size as f32).then_some(at as usize)
    };
    let columns: Vec<Option<usize>> = (0..size).map(|x| from(x, 0)).collect();
    let mut shown = Vec::with_capacity(picture.len());
    for row in (0..size).map(|y| from(y, 1)) {
        for column in &columns {
            let Some((row, column)) = row.zip(*column) else {
                shown.extend([255; CHANNELS]);
                continue;
            };
            let pixel = &picture[CHANNELS * (row * size + column)..][..CHANNELS];
            // White stays white: it is where nothing is drawn.
            let darkness =
                pixel.iter().zip(how.colors).map(|(x, factor)| f32::from(255 - x) * factor);
            shown.extend(darkness.map(|darkness| 255 - darkness.min(255.0) as u8));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn a_dot() -> Pictures {
        let mut pixels = vec![255; CHANNELS * 16 * 16];
        pixels[CHANNELS * (16 * 8 + 8)..][..CHANNELS].copy_from_slice(&[0, 100, 255]);
        Pictures { size: 16, pixels }
    }

    #[test]
    fn without_strength_nothing_changes() {
        let mut coins = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(varied(&a_dot(), 0.0, &mut coins), a_dot());
    }

    #[test]
    fn prompts_are_told_where_their_pictures_stand() {
        let of = |value: u8| vec![value; CHANNELS * 8 * 8];
        let pictures = Pictures { size: 8, pixels: [of(10), of(20), of(30)].concat() };
        let mut prompts = [patch_ids(2, 8), vec![7], [patch_ids(0, 8), vec![7]].concat()];
        let mut coins = ChaCha8Rng::seed_from_u64(1);
        let shown = of_prompts(prompts.iter_mut(), (&pictures, 0.0), &mut coins);
        assert_eq!(shown.pixels, [of(30), of(10)].concat());
        assert_eq!(prompts, [patch_ids(0, 8), vec![7], [patch_ids(1, 8), vec![7]].concat()]);
    }

    #[test]
    fn a_dot_moves_as_far_as_it_may_and_white_stays_white() {
        let dot = |pictures: &Pictures| {
            let pixels = pictures.pixels.chunks_exact(CHANNELS);
            let dark = pixels.enumerate().filter(|(_, pixel)| *pixel != [255; CHANNELS]);
            dark.map(|(place, pixel)| (place % 16, place / 16, pixel.to_vec())).collect::<Vec<_>>()
        };
        let mut coins = ChaCha8Rng::seed_from_u64(2);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..200 {
            for (x, y, pixel) in dot(&varied(&a_dot(), 0.2, &mut coins)) {
                // 8 is half a pixel from the middle; 0.2 x 16 = 3.2 pixels, further apart by up to 1 / 0.8.
                assert!((4..=13).contains(&x) && (4..=13).contains(&y), "{x} {y}");
                assert!(pixel[0] < 60 && pixel[2] == 255, "{pixel:?}");
                places.insert((x, y));
            }
        }
        assert!(places.len() > 20, "{}", places.len());
    }
}
