//! Ratings as the collector takes them from a body and the trainer from a line.
#![no_main]

#[path = "../../tests/laws/rating.rs"]
mod rating;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rating::check(bytes);
});
