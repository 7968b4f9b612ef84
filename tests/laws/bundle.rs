//! What holds for any bytes that should be a bundle, and for those that should be a tokenizer file.
//!
//! The fuzz target `bundle` and the test of its kept corpus share it. Leaves out the weights: see `policy`.

use kudos_schema::{Container, pack_bundle, read_manifest};
use kudos_tokenizer::stream::Stream;
use kudos_tokenizer::{Piece, Tokenizer};

/// How a bundle begins.
const MAGIC: &[u8] = b"KUDOSBDL";
/// Texts that every tokenizer must give back.
const TEXTS: [&str; 4] = [
    "",
    "h\u{e9}llo w\u{f6}rld's  \u{6771}\u{4eac} \u{1f642} 1234",
    " a\r\n\n\tb<|end|><|user|></s>\u{0}\u{17f}",
    "aaaaaaaabababab   'LL 12 345",
];

/// Checks the laws; whether the bytes are a bundle or a tokenizer file.
///
/// # Panics
/// If a law is broken.
pub(crate) fn check(bytes: &[u8]) -> bool {
    if !bytes.starts_with(MAGIC) {
        return std::str::from_utf8(bytes).is_ok_and(a_tokenizer_gives_texts_back);
    }
    let Ok(container) = Container::read(bytes) else { return false };
    assert_eq!(read_manifest(bytes).expect("it was read"), container.manifest);
    packed_again_it_holds_the_same(&container, bytes);
    if let Ok((_, tokenizer)) = container.part("tokenizer.json")
        && let Ok(tokenizer) = std::str::from_utf8(tokenizer)
    {
        a_tokenizer_gives_texts_back(tokenizer);
    }
    true
}

fn packed_again_it_holds_the_same(container: &Container<'_>, bytes: &[u8]) {
    let manifest = &container.manifest;
    let content = |offset: u64, length: u64| &bytes[offset as usize..(offset + length) as usize];
    let parts = manifest
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.sha256.clone(), content(part.offset, part.bytes)));
    let parts: Vec<_> = parts.collect();
    let packed = pack_bundle(manifest.clone(), &parts);
    let again = Container::read(&packed).expect("what was packed can be read");
    assert_eq!(again.manifest.parts.len(), parts.len());
    for (part, (name, sha256, content)) in again.manifest.parts.iter().zip(&parts) {
        assert_eq!((part.name.as_str(), &part.sha256), (*name, sha256));
        let begin = part.offset as usize;
        assert_eq!(packed[begin..begin + part.bytes as usize], **content);
    }
    let mut moved = again.manifest.clone();
    moved.parts.clone_from(&manifest.parts);
    assert_eq!(moved, *manifest);
}

/// Whether the text is a tokenizer file.
fn a_tokenizer_gives_texts_back(json: &str) -> bool {
    let Ok(tokenizer) = Tokenizer::from_json(json) else { return false };
    assert_eq!(tokenizer.to_json(), json);
    let vocab_size = tokenizer.vocab_size();
    assert!(
        (tokenizer.end_id() as usize) < vocab_size && (tokenizer.pad_id() as usize) < vocab_size
    );
    let names: Vec<String> = tokenizer.special_names().map(str::to_owned).collect();
    let specials: Vec<u32> = names.iter().filter_map(|name| tokenizer.special_id(name)).collect();
    let head: String = json.chars().take(300).collect();
    for text in TEXTS.into_iter().chain([names.concat().as_str(), &head]) {
        let ids = tokenizer.encode(text);
        assert!(
            ids.iter().all(|id| (*id as usize) < vocab_size && !specials.contains(id)),
            "{text:?}"
        );
        assert_eq!(tokenizer.decode(&ids), text);
        let mut stream = Stream::new(&tokenizer);
        let mut streamed: String = ids.iter().map(|id| stream.push(*id)).collect();
        streamed += &stream.finish();
        assert_eq!(streamed, text);
        cut_at_specials_nothing_is_lost(&tokenizer, text);
    }
    true
}

fn cut_at_specials_nothing_is_lost(tokenizer: &Tokenizer, text: &str) {
    let pieces = tokenizer.split(text);
    let plain = pieces.iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(*text),
        Piece::Special(_) => None,
    });
    let plain: String = plain.collect();
    assert_eq!(tokenizer.decode(&tokenizer.encode_with_specials(text)), plain);
}
