//! What libFuzzer found worth keeping (fuzz/corpus) goes through the laws of the fuzz targets again, without a fuzzer.

#[path = "laws/bundle.rs"]
mod bundle;
#[path = "laws/rating.rs"]
mod rating;

use std::fs;
use std::path::{Path, PathBuf};

/// The files that were kept for a target, in the order of their names.
fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new("../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What `law` says of every file that was kept for `target`.
fn each<T>(target: &str, law: fn(&[u8]) -> T) -> Vec<T> {
    let said = kept(target).into_iter().map(|(path, bytes)| {
        let said = std::panic::catch_unwind(|| law(&bytes));
        said.unwrap_or_else(|_| panic!("{} breaks a law", path.display()))
    });
    said.collect()
}

#[test]
fn the_laws_of_ratings_hold_for_the_kept_corpus() {
    let sound = each("rating", rating::check);
    assert!(sound.iter().sum::<usize>() > 10, "there are sound ratings in it");
    assert!(sound.contains(&0), "there are refused ones in it");
}

#[test]
fn the_laws_of_bundles_hold_for_the_kept_corpus() {
    let sound = each("bundle", bundle::check);
    assert!(
        sound.contains(&true) && sound.contains(&false),
        "there are sound and refused ones in it"
    );
}
