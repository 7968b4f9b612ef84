//! BLEU, chrF, ROUGE and the Porter stemmer against what sacrebleu, rouge-score and NLTK say;
//! `tests/golden/text_metrics.py` makes the numbers.

use std::collections::BTreeMap;

use kudos_core::text::bleu::{
    Bleu, BleuOptions, EffectiveOrder, Smoothing, corpus_bleu, sentence_bleu,
};
use kudos_core::text::chrf::{
    Chrf, ChrfOptions, ChrfSmoothing, Whitespace, corpus_chrf, sentence_chrf,
};
use kudos_core::text::porter::stem;
use kudos_core::text::rouge::{Rouge, Score, Stemming, corpus_rouge, sentence_rouge};
use kudos_core::text::tokenize::{Case, Tokenization};
use serde::Deserialize;

/// The goldens have ten decimals.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    bleu_options: Vec<SacrebleuBleu>,
    chrf_options: Vec<SacrebleuChrf>,
    corpora: BTreeMap<String, Corpus>,
    stems: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct SacrebleuBleu {
    tokenize: Tokenization,
    smooth_method: String,
    smooth_value: Option<f64>,
    max_ngram_order: usize,
    effective_order: bool,
    lowercase: bool,
}

#[derive(Deserialize)]
struct SacrebleuChrf {
    char_order: usize,
    word_order: usize,
    beta: f64,
    lowercase: bool,
    whitespace: bool,
    eps_smoothing: bool,
}

#[derive(Deserialize)]
struct Corpus {
    bleu: Vec<BleuRow>,
    chrf: Vec<ChrfRow>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    hypothesis: String,
    references: Vec<String>,
    bleu: Vec<BleuRow>,
    chrf: Vec<ChrfRow>,
    /// Without stemming, with it; four measures; precision, recall, F1.
    rouge: [[[f64; 3]; 4]; 2],
}

/// An array in the file, in this order.
#[derive(Deserialize)]
struct BleuRow {
    option: usize,
    score: f64,
    brevity_penalty: f64,
    hypothesis_length: u64,
    reference_length: u64,
    precisions: Vec<f64>,
    /// Of a corpus only.
    #[serde(default)]
    signature: String,
}

/// An array in the file, in this order.
#[derive(Deserialize)]
struct ChrfRow {
    option: usize,
    score: f64,
    /// Of a corpus only.
    #[serde(default)]
    name: String,
    /// Of a corpus only.
    #[serde(default)]
    signature: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/text_metrics.json"))
        .expect("the golden file is as its script writes it")
}

impl SacrebleuBleu {
    fn options(&self) -> BleuOptions {
        let smoothing = match (self.smooth_method.as_str(), self.smooth_value) {
            ("none", None) => Smoothing::None,
            ("floor", None) => Smoothing::FLOOR,
            ("floor", Some(value)) => Smoothing::Floor(value),
            ("add-k", None) => Smoothing::ADD_K,
            ("add-k", Some(value)) => Smoothing::AddK(value),
            ("exp", None) => Smoothing::Exp,
            other => panic!("unknown smoothing {other:?}"),
        };
        BleuOptions {
            tokenization: self.tokenize,
            smoothing,
            order: self.max_ngram_order,
            effective_order: if self.effective_order {
                EffectiveOrder::On
            } else {
                EffectiveOrder::Off
            },
            case: if self.lowercase { Case::Lower } else { Case::Mixed },
        }
    }
}

impl SacrebleuChrf {
    fn options(&self) -> ChrfOptions {
        let smoothing =
            if self.eps_smoothing { ChrfSmoothing::Epsilon } else { ChrfSmoothing::EffectiveOrder };
        ChrfOptions {
            char_order: self.char_order,
            word_order: self.word_order,
            beta: self.beta,
            case: if self.lowercase { Case::Lower } else { Case::Mixed },
            whitespace: if self.whitespace { Whitespace::Kept } else { Whitespace::Removed },
            smoothing,
        }
    }
}

impl Sentence {
    fn references(&self) -> Vec<&str> {
        self.references.iter().map(String::as_str).collect()
    }
}

impl Corpus {
    fn hypotheses(&self) -> Vec<&str> {
        self.sentences.iter().map(|sentence| sentence.hypothesis.as_str()).collect()
    }

    fn references(&self) -> Vec<Vec<&str>> {
        self.sentences.iter().map(Sentence::references).collect()
    }
}

fn check(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= TOLERANCE, "{what}: {found} instead of {expected}");
}

fn check_bleu(found: &Bleu, expected: &BleuRow, what: &str) {
    check(found.score, expected.score, what);
    check(found.brevity_penalty, expected.brevity_penalty, what);
    assert_eq!(found.hypothesis_length, expected.hypothesis_length, "{what}");
    assert_eq!(found.reference_length, expected.reference_length, "{what}");
    assert_eq!(found.precisions.len(), expected.precisions.len(), "{what}");
    for (found, expected) in found.precisions.iter().zip(&expected.precisions) {
        check(*found, *expected, what);
    }
}

fn check_rouge(found: &Rouge, expected: &[[f64; 3]; 4], what: &str) {
    let found = [found.rouge1, found.rouge2, found.rouge_l, found.rouge_lsum];
    for (Score { precision, recall, fmeasure }, expected) in found.into_iter().zip(expected) {
        check(precision, expected[0], what);
        check(recall, expected[1], what);
        check(fmeasure, expected[2], what);
    }
}

/// Our signature without the version and without what sacrebleu's leaves out.
fn sacrebleu_signature(signature: &str) -> String {
    let ours = |part: &&str| {
        !["order:", "beta:", "version:"].iter().any(|prefix| part.starts_with(prefix))
    };
    signature.split('|').filter(ours).collect::<Vec<_>>().join("|")
}

#[test]
fn corpus_bleu_equals_sacrebleu() {
    let golden = golden();
    for (name, corpus) in &golden.corpora {
        for row in &corpus.bleu {
            let options = golden.bleu_options[row.option].options();
            let what = format!("{name} {options:?}");
            let bleu = corpus_bleu(&corpus.hypotheses(), &corpus.references(), &options).unwrap();
            check_bleu(&bleu, row, &what);
            let signature = options.signature(bleu.reference_count);
            assert_eq!(sacrebleu_signature(&signature), row.signature, "{what}");
        }
    }
}

#[test]
fn sentence_bleu_equals_sacrebleu() {
    let golden = golden();
    for sentence in golden.corpora.values().flat_map(|corpus| &corpus.sentences) {
        for row in &sentence.bleu {
            let options = golden.bleu_options[row.option].options();
            let what = format!("{:?} {options:?}", sentence.hypothesis);
            let bleu =
                sentence_bleu(&sentence.hypothesis, &sentence.references(), &options).unwrap();
            check_bleu(&bleu, row, &what);
        }
    }
}

#[test]
fn corpus_chrf_equals_sacrebleu() {
    let golden = golden();
    for (name, corpus) in &golden.corpora {
        for row in &corpus.chrf {
            let options = golden.chrf_options[row.option].options();
            let what = format!("{name} {options:?}");
            let Chrf { score, reference_count } =
                corpus_chrf(&corpus.hypotheses(), &corpus.references(), &options).unwrap();
            check(score, row.score, &what);
            assert_eq!(options.name(), row.name, "{what}");
            let signature = options.signature(reference_count);
            assert_eq!(sacrebleu_signature(&signature), row.signature, "{what}");
        }
    }
}

#[test]
fn sentence_chrf_equals_sacrebleu() {
    let golden = golden();
    for sentence in golden.corpora.values().flat_map(|corpus| &corpus.sentences) {
        for row in &sentence.chrf {
            let options = golden.chrf_options[row.option].options();
            let what = format!("{:?} {options:?}", sentence.hypothesis);
            let chrf =
                sentence_chrf(&sentence.hypothesis, &sentence.references(), &options).unwrap();
            check(chrf.score, row.score, &what);
        }
    }
}

#[test]
fn sentence_rouge_equals_rouge_score() {
    let golden = golden();
    for sentence in golden.corpora.values().flat_map(|corpus| &corpus.sentences) {
        for (stemming, expected) in [Stemming::None, Stemming::Porter].iter().zip(&sentence.rouge) {
            let what = format!("{:?} {stemming:?}", sentence.hypothesis);
            let rouge =
                sentence_rouge(&sentence.hypothesis, &sentence.references(), *stemming).unwrap();
            check_rouge(&rouge, expected, &what);
        }
    }
}

#[test]
fn corpus_rouge_is_the_mean_of_rouge_score() {
    for (name, corpus) in &golden().corpora {
        for (index, stemming) in [Stemming::None, Stemming::Porter].into_iter().enumerate() {
            let mut mean = [[0.0; 3]; 4];
            for sentence in &corpus.sentences {
                for (mean, value) in
                    mean.as_flattened_mut().iter_mut().zip(sentence.rouge[index].as_flattened())
                {
                    *mean += value / corpus.sentences.len() as f64;
                }
            }
            let found = corpus_rouge(&corpus.hypotheses(), &corpus.references(), stemming).unwrap();
            check_rouge(&found, &mean, name);
        }
    }
}

#[test]
fn stems_equal_nltks() {
    for (word, expected) in &golden().stems {
        assert_eq!(&stem(word), expected, "{word}");
    }
}

#[test]
fn sacrebleus_readme_example_holds() {
    let golden = golden();
    let corpus = &golden.corpora["readme"];
    let bleu =
        corpus_bleu(&corpus.hypotheses(), &corpus.references(), &BleuOptions::default()).unwrap();
    // As printed in that readme: BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ratio = 0.944 ...).
    assert_eq!(format!("{:.2}", bleu.score), "48.53");
    let precisions: Vec<String> = bleu.precisions.iter().map(|p| format!("{p:.1}")).collect();
    assert_eq!(precisions.join("/"), "82.4/50.0/45.5/37.5");
    assert_eq!((bleu.hypothesis_length, bleu.reference_length), (17, 18));
}
