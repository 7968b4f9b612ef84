//! `trainer score`: text metrics of files, so that anyone can check the rewards.
//!
//! A file holds one text a line. For `triples`, the triples of an item stand on its line, separated
//! by ` ; `. Options and parts have the names of sacrebleu and rouge-score.

mod options;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use kudos_core::text::bleu::{BleuOptions, corpus_bleu};
use kudos_core::text::chrf::{ChrfOptions, corpus_chrf};
use kudos_core::text::corpus::ReferenceCount;
use kudos_core::text::rouge::{Stemming, corpus_rouge};
use kudos_core::text::triples::{TripleMatch, parse_triples, score_triples, summarize_triples};
use kudos_schema::ScoreResult;

use crate::likeness::{EncoderReward, Likeness};
use crate::output;
use crate::usage::usage;
pub use options::{BleuArgs, ChrfArgs, Files, Metric, ScoreArgs, SmoothMethod, Tokenize};

/// Texts of both sides: hypotheses, and for each its references.
struct Texts {
    hypotheses: Vec<String>,
    references: Vec<Vec<String>>,
}

impl Texts {
    fn read(files: &Files) -> Result<Self> {
        let hypotheses = lines(&files.hypotheses)?;
        let mut references = vec![Vec::new(); hypotheses.len()];
        for path in &files.references {
            let alternative = lines(path)?;
            if alternative.len() != hypotheses.len() {
                return Err(usage(format!(
                    "{} has {} lines and {} has {}: give one reference for each hypothesis",
                    path.display(),
                    alternative.len(),
                    files.hypotheses.display(),
                    hypotheses.len()
                )));
            }
            references.iter_mut().zip(alternative).for_each(|(all, text)| all.push(text));
        }
        Ok(Self { hypotheses, references })
    }

    /// Scores all together, or each line as a corpus of its own.
    fn each(
        self,
        files: &Files,
        score: impl Fn(&Self) -> Result<ScoreResult>,
    ) -> Result<Vec<ScoreResult>> {
        if !files.sentence_level {
            return Ok(vec![score(&self)?]);
        }
        let pairs = self.hypotheses.into_iter().zip(self.references);
        let lines =
            pairs.map(|(text, group)| Self { hypotheses: vec![text], references: vec![group] });
        lines.map(|line| score(&line)).collect()
    }

    fn hypotheses(&self) -> Vec<&str> {
        self.hypotheses.iter().map(String::as_str).collect()
    }

    fn count(&self) -> ReferenceCount {
        ReferenceCount::Fixed(self.references.first().map_or(0, Vec::len))
    }

    fn references(&self) -> Vec<Vec<&str>> {
        self.references.iter().map(|all| all.iter().map(String::as_str).collect()).collect()
    }
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let name = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| usage(format!("{name}: {error}; give a file with one text a line")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        usage(format!("{name}, line {line}: not UTF-8; convert the file to UTF-8"))
    })?;
    if text.is_empty() {
        return Err(usage(format!("{name} is empty: give one text a line")));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Scores and prints.
///
/// # Errors
/// Usage errors that name the file and the remedy.
pub fn print(args: &ScoreArgs) -> Result<()> {
    let json = args.metric.files().json;
    for result in score(&args.metric)? {
        if json {
            output::result(&serde_json::to_string(&result)?);
            continue;
        }
        output::result(&format!("{} = {:.6}  {}", result.metric, result.score, result.signature));
        for (name, value) in &result.parts {
            output::result(&format!("  {name} = {value:.6}"));
        }
    }
    Ok(())
}

/// The score of the files; of each line, if so asked.
///
/// # Errors
/// Usage errors that name the file and the remedy.
pub fn score(metric: &Metric) -> Result<Vec<ScoreResult>> {
    let files = metric.files();
    let texts = Texts::read(files)?;
    match metric {
        Metric::Bleu(args) => {
            let options = args.options()?;
            texts.each(files, |texts| bleu(texts, &options))
        }
        Metric::Chrf(args) => texts.each(files, |texts| chrf(texts, &args.options())),
        Metric::Rouge { use_stemmer, .. } => {
            let stemming = if *use_stemmer { Stemming::Porter } else { Stemming::None };
            texts.each(files, |texts| rouge(texts, stemming))
        }
        Metric::Likeness { encoder, .. } => {
            let encoder = EncoderReward::read(Likeness::Embedding, encoder, &Device::flex())?;
            texts.each(files, |texts| likeness(texts, &encoder))
        }
        Metric::Triples { case_folded, .. } => {
            let same = if *case_folded { TripleMatch::CaseFolded } else { TripleMatch::Exact };
            texts.each(files, |texts| triples(texts, same))
        }
    }
}

fn bleu(texts: &Texts, options: &BleuOptions) -> Result<ScoreResult> {
    let bleu = corpus_bleu(&texts.hypotheses(), &texts.references(), options)
        .map_err(|error| usage(error.to_string()))?;
    let ratio = match bleu.reference_length {
        0 => 0.0, // as sacrebleu
        length => bleu.hypothesis_length as f64 / length as f64,
    };
    let mut parts = BTreeMap::from([
        ("bp".to_owned(), bleu.brevity_penalty),
        ("ratio".to_owned(), ratio),
        ("sys_len".to_owned(), bleu.hypothesis_length as f64),
        ("ref_len".to_owned(), bleu.reference_length as f64),
    ]);
    for (index, precision) in bleu.precisions.iter().enumerate() {
        parts.insert(format!("precision_{}", index + 1), *precision);
    }
    Ok(ScoreResult {
        metric: "BLEU".to_owned(),
        score: bleu.score,
        parts,
        signature: options.signature(bleu.reference_count),
    })
}

fn chrf(texts: &Texts, options: &ChrfOptions) -> Result<ScoreResult> {
    let chrf = corpus_chrf(&texts.hypotheses(), &texts.references(), options)
        .map_err(|error| usage(error.to_string()))?;
    Ok(ScoreResult {
        metric: options.name(),
        score: chrf.score,
        parts: BTreeMap::new(),
        signature: options.signature(chrf.reference_count),
    })
}

fn rouge(texts: &Texts, stemming: Stemming) -> Result<ScoreResult> {
    let rouge = corpus_rouge(&texts.hypotheses(), &texts.references(), stemming)
        .map_err(|error| usage(error.to_string()))?;
    let rows = [
        ("rouge1", rouge.rouge1),
        ("rouge2", rouge.rouge2),
        ("rougeL", rouge.rouge_l),
        ("rougeLsum", rouge.rouge_lsum),
    ];
    let parts = rows.into_iter().flat_map(|(name, score)| {
        [
            (format!("{name}_precision"), score.precision),
            (format!("{name}_recall"), score.recall),
            (format!("{name}_fmeasure"), score.fmeasure),
        ]
    });
    Ok(ScoreResult {
        metric: "rougeL".to_owned(),
        score: rouge.rouge_l.fmeasure,
        parts: parts.collect(),
        signature: stemming.signature(texts.count()),
    })
}

/// The means of the best references' scores.
fn likeness(texts: &Texts, encoder: &EncoderReward) -> Result<ScoreResult> {
    let pairs = texts.hypotheses.iter().zip(&texts.references);
    let pairs: Vec<(&str, &[String])> =
        pairs.map(|(text, references)| (text.as_str(), references.as_slice())).collect();
    let mean = |likeness| {
        let scores = encoder.best(&pairs, likeness).map_err(anyhow::Error::msg)?;
        anyhow::Ok(scores.iter().copied().map(f64::from).sum::<f64>() / scores.len() as f64)
    };
    Ok(ScoreResult {
        metric: Likeness::BertScore.name().to_owned(),
        score: mean(Likeness::BertScore)?,
        parts: BTreeMap::from([("cosine".to_owned(), mean(Likeness::Embedding)?)]),
        signature: format!("nrefs:{}|multi:max|layer:last|idf:no|rescale:no", texts.count()),
    })
}

fn triples(texts: &Texts, same: TripleMatch) -> Result<ScoreResult> {
    let parse = |line: &str| parse_triples(&line.replace(" ; ", "\n")).triples;
    let scores: Vec<_> = texts
        .hypotheses
        .iter()
        .zip(&texts.references)
        .filter_map(|(hypothesis, references)| {
            let stated = parse(hypothesis);
            let scores = references.iter().map(|text| score_triples(&stated, &parse(text), same));
            // Not `max_by`, which takes the last on a tie.
            scores.reduce(|best, next| if next.f1 > best.f1 { next } else { best })
        })
        .collect();
    let summary = summarize_triples(&scores).ok_or_else(|| usage("there is nothing to score"))?;
    Ok(ScoreResult {
        metric: "triples".to_owned(),
        score: summary.mean.f1,
        parts: BTreeMap::from([
            ("precision".to_owned(), summary.mean.precision),
            ("recall".to_owned(), summary.mean.recall),
            ("f1".to_owned(), summary.mean.f1),
            ("micro_precision".to_owned(), summary.micro.precision),
            ("micro_recall".to_owned(), summary.micro.recall),
            ("micro_f1".to_owned(), summary.micro.f1),
        ]),
        signature: format!("nrefs:{}|multi:max-f|corpus:mean|{}", texts.count(), same.signature()),
    })
}

#[cfg(test)]
mod tests;
