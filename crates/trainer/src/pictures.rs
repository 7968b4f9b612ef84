//! Pictures of the disk for a policy's eyes: PNG files, sheets of many, folders of one a row.
//!
//! Transparent pixels stand on white. A picture that is not square is scaled to one. Leaves out: other
//! formats.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use kudos_core::model::{Pictures, Transformer};
use kudos_core::task::dataset::IMAGE;
use kudos_core::task::{Item, PICTURE, TaskData};
use kudos_schema::{CHANNELS, Picture, patch_ids};
use serde_json::Value;

use crate::batches::{Purpose, coins};
use crate::output;
use crate::png::{Raster, decode};
use crate::policy::Policy;
use crate::rated::said::Heard;
use crate::recipe::Recipe;
use crate::usage::usage;

/// The emojis that ship with the program: 40 a row, each of [`TILE`] pixels a side.
const SHEET: &[u8] = include_bytes!("../../../data/emoji_sheet_32_q256.png");
/// Pixels along one side of an emoji.
const TILE: usize = 32;
/// Which coins eyes start from; those of indices 0 and 1 make a new policy and its small parameters.
const START: u64 = 2;

/// The emojis that ship with the program.
///
/// # Errors
/// If the program is damaged.
pub fn emojis() -> Result<Pictures> {
    let sheet = decode(SHEET)?;
    let mut pictures = Pictures { size: TILE, pixels: Vec::new() };
    for top in (0..sheet.height / TILE).map(|row| row * TILE) {
        for left in (0..sheet.width / TILE).map(|column| column * TILE) {
            pictures.pixels.extend(sheet.square((left, top), TILE));
        }
    }
    Ok(pictures)
}

/// One picture from a PNG file, scaled.
///
/// # Errors
/// If it cannot be read or is no PNG file.
pub fn read(path: &Path, size: usize) -> Result<Pictures> {
    let label = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| usage(format!("{label}: {error}; give an existing PNG file")))?;
    let raster = decode(&bytes)
        .map_err(|error| usage(format!("{label}: {error}; give a PNG file of 8 bits a channel")))?;
    Ok(Pictures { size, pixels: raster.scaled(size) })
}

/// Reads the files that rows of a data set name, relative to the folder of the data set.
///
/// # Errors
/// If one cannot be read.
pub fn of_rows(data: &mut TaskData, folder: &Path) -> Result<()> {
    let mut files: Vec<String> = Vec::new();
    let mut pictures = Pictures::default();
    for item in data.train.iter_mut().chain(&mut data.validation).chain(&mut data.test) {
        let Some(Value::String(file)) = item.extra.get(IMAGE) else { continue };
        let place = match files.iter().position(|known| known == file) {
            Some(place) => place,
            None => {
                append(&mut pictures, &read(&folder.join(file), TILE)?)?;
                files.push(file.clone());
                files.len() - 1
            }
        };
        item.extra.insert(PICTURE.to_owned(), Value::from(place));
    }
    data.pictures = pictures;
    Ok(())
}

/// The items of the test drawn in another style: `FOLDER/ID.png` in place of each, ids in small letters.
/// Items without a file are left out.
///
/// # Errors
/// If the folder has none of them, or a file cannot be read.
pub fn in_style(items: Vec<Item>, folder: &Path) -> Result<(Vec<Item>, Pictures)> {
    let (asked, mut kept, mut pictures) = (items.len(), Vec::new(), Pictures::default());
    for mut item in items {
        let path = folder.join(format!("{}.png", item.id.to_lowercase()));
        if path.is_file() {
            item.extra.insert(PICTURE.to_owned(), Value::from(kept.len()));
            append(&mut pictures, &read(&path, TILE)?)?;
            kept.push(item);
        }
    }
    if kept.is_empty() {
        let label = folder.display();
        return Err(usage(format!(
            "{label} has no picture of the {asked} items: files are named as 1f600.png"
        )));
    }
    if kept.len() < asked {
        output::note(&format!("{} of {asked} items are drawn in this style", kept.len()));
    }
    Ok((kept, pictures))
}

/// The pictures of all data, whose items are told their new places.
///
/// # Errors
/// If sizes differ.
pub fn gather(sources: &mut [TaskData]) -> Result<Pictures> {
    let mut all = Pictures::default();
    for source in sources {
        let first = all.len();
        append(&mut all, &source.pictures)?;
        let TaskData { train, validation, test, .. } = source;
        for item in train.iter_mut().chain(validation).chain(test) {
            if let Some(place) = item.picture() {
                item.extra.insert(PICTURE.to_owned(), Value::from(first + place));
            }
        }
    }
    Ok(all)
}

/// The pictures of ratings, each once, whose prompts are told their places.
///
/// # Errors
/// If sizes differ.
pub(crate) fn of_ratings(heard: &mut [Heard]) -> Result<Pictures> {
    let mut places: BTreeMap<Picture, usize> = BTreeMap::new();
    let mut all = Pictures::default();
    for Heard { rating, .. } in heard {
        let Some(picture) = &rating.prompt.picture else { continue };
        let next = places.len();
        let place = *places.entry(picture.clone()).or_insert(next);
        if place == next {
            append(&mut all, &picture.into())?;
        }
        let ids = [patch_ids(place, picture.size), rating.prompt.tokens().to_vec()].concat();
        rating.prompt.token_ids = ids;
    }
    Ok(all)
}

/// The model with pictures of ratings before its eyes, where it has eyes for them.
///
/// # Errors
/// None but a defect.
pub(crate) fn of_ratings_shown(model: Transformer, pictures: &Pictures) -> Result<Transformer> {
    let size = model.config().vision.map(|vision| vision.image_size);
    if size == Some(pictures.size) { shown(model, pictures) } else { Ok(model) }
}

/// The policy with eyes, new ones where it has none and there is something to see.
pub fn with_eyes(policy: Policy, pictures: &Pictures, recipe: &Recipe) -> Policy {
    if pictures.is_empty() || policy.config().vision.is_some() {
        return policy;
    }
    let mut coins = coins(recipe.seed, Purpose::Weights, START);
    Policy { model: policy.model.with_eyes(recipe.vision, &mut coins), ..policy }
}

/// The model with the pictures before its eyes, if there are any.
///
/// # Errors
/// If it has no eyes.
pub fn shown(model: Transformer, pictures: &Pictures) -> Result<Transformer> {
    if pictures.is_empty() {
        return Ok(model);
    }
    let size = model.config().vision.map_or(pictures.size, |vision| vision.image_size);
    model.looking_at(&scaled(pictures, size)).map_err(|error| usage(error.to_string()))
}

fn append(all: &mut Pictures, more: &Pictures) -> Result<()> {
    all.append(more).map_err(|error| usage(error.to_string()))
}

fn scaled(pictures: &Pictures, size: usize) -> Pictures {
    if pictures.size == size {
        return pictures.clone();
    }
    let rasters = pictures.pixels.chunks_exact(CHANNELS * pictures.size * pictures.size);
    let pixels = rasters.flat_map(|pixels| {
        let (width, height, pixels) = (pictures.size, pictures.size, pixels.to_vec());
        Raster { width, height, pixels }.scaled(size)
    });
    Pictures { size, pixels: pixels.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_holds_an_emoji_a_place() {
        let emojis = emojis().unwrap();
        assert_eq!((emojis.size, emojis.len()), (32, 1600));
        let of_one = 3 * 32 * 32;
        // The places behind the last of 1,572 are empty, the last is not.
        let one = |place: usize| &emojis.pixels[place * of_one..(place + 1) * of_one];
        let plain = |place| one(place).iter().all(|value| *value == one(place)[0]);
        assert!(plain(1572) && !plain(1571) && !plain(0));
    }

    #[test]
    fn pictures_of_several_tasks_are_told_apart() {
        let item = |place: usize| Item {
            id: String::new(),
            prompt: kudos_core::task::captions::prompt("captions"),
            references: Vec::new(),
            extra: serde_json::Map::from_iter([(PICTURE.to_owned(), Value::from(place))]),
        };
        let source = |value: u8| TaskData {
            train: vec![item(1)],
            pictures: Pictures { size: 1, pixels: vec![value; 6] },
            ..TaskData::default()
        };
        let mut sources = [source(3), TaskData::default(), source(4)];
        let all = gather(&mut sources).unwrap();
        assert_eq!(all.pixels, [[3; 6], [4; 6]].concat());
        assert_eq!(sources[0].train[0].picture(), Some(1));
        assert_eq!(sources[2].train[0].picture(), Some(3));
    }
}
