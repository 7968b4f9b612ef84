//! The sentence encoder against numbers of Python's transformers and tokenizers (`tests/golden/encoder.py`).

use std::path::Path;

use burn::tensor::Device;
use kudos_core::likeness::{Matched, greedy_match};
use kudos_core::model::hugging_face::StoredAs;
use kudos_core::optim::Gradients;
use kudos_core::sentence_encoder::{EncoderFiles, SentenceEncoder};
use pollster::block_on;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<u32>,
    features: Vec<f32>,
    embedding: Vec<f32>,
    gradient_norm: f32,
    /// Precision, recall and F1 against every text.
    matched: Vec<[f32; 3]>,
}

pub(crate) fn files() -> EncoderFiles {
    // Tests start in the folder of their package.
    let file = |name: &str| std::fs::read(Path::new("golden/encoder").join(name)).unwrap();
    let text = |name: &str| String::from_utf8(file(name)).unwrap();
    EncoderFiles {
        config: text("config.json"),
        weights: file("model.safetensors"),
        tokenizer: text("tokenizer.json"),
    }
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string("golden/encoder/expected.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The largest difference of features and of embeddings over all texts in one padded batch.
fn worst(encoder: &SentenceEncoder) -> (f32, f32) {
    let rows = rows();
    let texts: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
    let values = |tensor: burn::tensor::Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
    let differ = |ours: &[f32], theirs: Vec<f32>| {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let features = rows.iter().flat_map(|row| row.features.clone()).collect();
    let embeddings = rows.iter().flat_map(|row| row.embedding.clone()).collect();
    (
        differ(&values(encoder.model.features(&texts)), features),
        differ(&values(encoder.model.embed(&texts)), embeddings),
    )
}

#[test]
fn a_text_has_the_tokens_of_the_reference() {
    let encoder = files().load(&Device::flex()).unwrap();
    for row in rows() {
        assert_eq!(encoder.encode(&[&row.text]), row.ids, "{:?}", row.text);
    }
}

#[test]
fn features_and_embeddings_are_those_of_the_reference_whatever_the_padding() {
    let (features, embeddings) = worst(&files().load(&Device::flex()).unwrap());
    assert!(features < 2e-6 && embeddings < 1e-6, "{features} {embeddings}");
}

#[test]
fn tokens_are_matched_as_bert_score_does() {
    let encoder = files().load(&Device::flex()).unwrap();
    let rows = rows();
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let vectors = block_on(encoder.token_vectors(&texts)).unwrap();
    for (row, own) in rows.iter().zip(&vectors) {
        for (other, theirs) in vectors.iter().zip(&row.matched) {
            let Matched { precision, recall, f1 } = greedy_match(own, other);
            for (ours, theirs) in [precision, recall, f1].iter().zip(theirs) {
                assert!((ours - theirs).abs() < 2e-6, "{:?}: {ours} {theirs}", row.text);
            }
        }
    }
}

#[test]
fn a_texts_embedding_is_that_of_the_batch_wherever_it_stands() {
    let encoder = files().load(&Device::flex()).unwrap();
    let texts: Vec<String> = rows().into_iter().map(|row| row.text).collect();
    let many: Vec<&str> = texts.iter().map(String::as_str).cycle().take(70).collect();
    let all = block_on(encoder.embeddings(&many)).unwrap();
    assert_eq!(all.len(), many.len());
    for (row, ours) in rows().iter().cycle().zip(&all) {
        let off = row.embedding.iter().zip(ours).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "{:?}: {off}", row.text);
    }
}

#[test]
fn the_gradient_has_the_length_of_the_reference() {
    let mut golden = files();
    golden.config =
        golden.config.replace("\"hidden_dropout_prob\": 0.1", "\"hidden_dropout_prob\": 0.0");
    let encoder = golden.load(&Device::flex().autodiff()).unwrap();
    for row in rows() {
        let loss = encoder.model.features(&[&row.ids]).sum();
        let norm = Gradients::of(&encoder.model, loss.backward()).norm();
        let norm = norm.into_data().try_to_vec::<f32>().unwrap()[0];
        let off = (norm - row.gradient_norm).abs() / row.gradient_norm;
        assert!(off < 1e-5, "{:?}: {norm} is off by {off}", row.text);
    }
}

#[test]
fn what_is_written_reads_back_as_the_same_encoder() {
    let encoder = files().load(&Device::flex()).unwrap();
    let written = block_on(encoder.files(StoredAs::F32)).unwrap();
    let again = written.load(&Device::flex()).unwrap();
    assert_eq!(worst(&again), worst(&encoder));
}

#[test]
fn a_text_that_is_too_long_loses_its_beginning() {
    let encoder = files().load(&Device::flex()).unwrap();
    let long = encoder.encode(&[&"the cat sat ".repeat(40), "on the mat"]);
    assert_eq!(long.len(), 64);
    let short = encoder.encode(&["sat", "on the mat"]);
    assert_eq!((long[0], &long[64 - short.len() + 1..]), (short[0], &short[1..]));
}

#[test]
fn other_tokenizers_are_refused() {
    let refused = |from: &str, to: &str| {
        let damaged = EncoderFiles { tokenizer: files().tokenizer.replace(from, to), ..files() };
        damaged.load(&Device::flex()).unwrap_err().to_string()
    };
    assert!(refused("\"type\": \"WordPiece\"", "\"type\": \"Unigram\"").contains("Unigram"));
    assert!(refused("[SEP]", "[END]").contains("[SEP]"));
    assert!(refused("\"the\": 5", "\"the\": 5000").contains("come from different models"));
    assert!(refused("{", "").contains("damaged"));
}
