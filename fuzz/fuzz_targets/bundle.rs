//! Bundles and tokenizer files, as far as they are read without their weights.
#![no_main]

#[path = "../../tests/laws/bundle.rs"]
mod bundle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bundle::check(bytes);
});
