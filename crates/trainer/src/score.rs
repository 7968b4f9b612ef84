//! `trainer score`: text metrics of files, so that anyone can check the rewards.
//!
//! A file holds one text a line. For `triples`, the triples of an item stand on its line, separated
//! by ` ; `. Options and parts have the names of sacrebleu and rouge-score.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use kudos_core::text::bleu::{BleuOptions, EffectiveOrder, Smoothing, corpus_bleu};
use kudos_core::text::chrf::{ChrfOptions, ChrfSmoothing, Whitespace, corpus_chrf};
use kudos_core::text::corpus::ReferenceCount;
use kudos_core::text::rouge::{Stemming, corpus_rouge};
use kudos_core::text::tokenize::{Case, Tokenization};
use kudos_core::text::triples::{TripleMatch, parse_triples, score_triples, summarize_triples};
use kudos_schema::ScoreResult;

use crate::output;
use crate::usage::usage;

/// What `score` was asked for.
#[derive(Debug, Clone, Args)]
pub struct ScoreArgs {
    /// The metric.
    #[command(subcommand)]
    pub metric: Metric,
}

/// The metrics with their options.
#[derive(Debug, Clone, Subcommand)]
pub enum Metric {
    /// BLEU, equal to sacrebleu's
    Bleu(BleuArgs),
    /// chrF and chrF++, equal to sacrebleu's
    Chrf(ChrfArgs),
    /// ROUGE-1, -2, -L and -Lsum, equal to rouge-score's
    Rouge {
        /// The two sides
        #[command(flatten)]
        files: Files,
        /// Compare stems (Porter)
        #[arg(long)]
        use_stemmer: bool,
    },
    /// Precision, recall and F1 of knowledge-graph triples
    Triples {
        /// The two sides
        #[command(flatten)]
        files: Files,
        /// Ignore case
        #[arg(long)]
        case_folded: bool,
    },
}

/// The files of either side.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// What is judged, one text a line
    #[arg(long, value_name = "FILE")]
    pub hypotheses: PathBuf,
    /// What it is compared with, one text a line; several files are alternatives
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub references: Vec<PathBuf>,
    /// Score each line by itself; switches the effective order of BLEU on
    #[arg(long)]
    pub sentence_level: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// BLEU's options.
#[derive(Debug, Clone, Args)]
pub struct BleuArgs {
    /// The two sides
    #[command(flatten)]
    pub files: Files,
    /// Tokenization
    #[arg(long, value_enum, default_value = "13a")]
    pub tokenize: Tokenize,
    /// Smoothing of orders without a match
    #[arg(long, value_enum, default_value = "exp")]
    pub smooth_method: SmoothMethod,
    /// Value of floor (0.1) or add-k (1)
    #[arg(long)]
    pub smooth_value: Option<f64>,
    /// Longest n-gram
    #[arg(long, default_value_t = 4)]
    pub max_ngram_order: u8,
    /// Leave out orders that the hypothesis is too short for
    #[arg(long)]
    pub effective_order: bool,
    /// Ignore case
    #[arg(long)]
    pub lowercase: bool,
}

/// chrF's options.
#[derive(Debug, Clone, Args)]
pub struct ChrfArgs {
    /// The two sides
    #[command(flatten)]
    pub files: Files,
    /// Longest character n-gram
    #[arg(long, default_value_t = 6)]
    pub char_order: u8,
    /// Longest word n-gram; 2 makes chrF++
    #[arg(long, default_value_t = 0)]
    pub word_order: u8,
    /// Weight of recall against precision
    #[arg(long, default_value_t = 2.0)]
    pub beta: f64,
    /// Count spaces as characters
    #[arg(long)]
    pub whitespace: bool,
    /// Epsilon smoothing instead of the effective order
    #[arg(long)]
    pub eps_smoothing: bool,
    /// Ignore case
    #[arg(long)]
    pub lowercase: bool,
}

/// BLEU's tokenizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tokenize {
    /// As the text is
    None,
    /// mteval-v13a
    #[value(name = "13a")]
    Mteval13a,
    /// mteval-v14 for many scripts
    Intl,
    /// Every character
    Char,
}

/// BLEU's smoothings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SmoothMethod {
    /// Off
    None,
    /// A small count instead of zero
    Floor,
    /// Added to every count
    AddK,
    /// Halves with every order without a match
    Exp,
}

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

    /// One corpus for each item.
    fn split(self) -> impl Iterator<Item = Self> {
        let pairs = self.hypotheses.into_iter().zip(self.references);
        pairs.map(|(text, group)| Self { hypotheses: vec![text], references: vec![group] })
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

impl Metric {
    fn files(&self) -> &Files {
        match self {
            Self::Bleu(args) => &args.files,
            Self::Chrf(args) => &args.files,
            Self::Rouge { files, .. } | Self::Triples { files, .. } => files,
        }
    }
}

/// The score of the files; of each line, if so asked.
///
/// # Errors
/// Usage errors that name the file and the remedy.
pub fn score(metric: &Metric) -> Result<Vec<ScoreResult>> {
    let files = metric.files();
    let texts = Texts::read(files)?;
    if files.sentence_level {
        texts.split().map(|item| score_texts(metric, &item)).collect()
    } else {
        Ok(vec![score_texts(metric, &texts)?])
    }
}

fn score_texts(metric: &Metric, texts: &Texts) -> Result<ScoreResult> {
    match metric {
        Metric::Bleu(args) => bleu(texts, &bleu_options(args)?),
        Metric::Chrf(args) => chrf(texts, &chrf_options(args)),
        Metric::Rouge { use_stemmer, .. } => {
            rouge(texts, if *use_stemmer { Stemming::Porter } else { Stemming::None })
        }
        Metric::Triples { case_folded, .. } => {
            let same = if *case_folded { TripleMatch::CaseFolded } else { TripleMatch::Exact };
            triples(texts, same)
        }
    }
}

fn bleu_options(args: &BleuArgs) -> Result<BleuOptions> {
    let effective = args.effective_order || args.files.sentence_level;
    Ok(BleuOptions {
        tokenization: match args.tokenize {
            Tokenize::None => Tokenization::None,
            Tokenize::Mteval13a => Tokenization::Mteval13a,
            Tokenize::Intl => Tokenization::International,
            Tokenize::Char => Tokenization::Character,
        },
        smoothing: match (args.smooth_method, args.smooth_value) {
            (SmoothMethod::Floor, value) => value.map_or(Smoothing::FLOOR, Smoothing::Floor),
            (SmoothMethod::AddK, value) => value.map_or(Smoothing::ADD_K, Smoothing::AddK),
            (SmoothMethod::None, None) => Smoothing::None,
            (SmoothMethod::Exp, None) => Smoothing::Exp,
            (SmoothMethod::None | SmoothMethod::Exp, Some(_)) => {
                return Err(usage(
                    "--smooth-value goes with --smooth-method floor or add-k: drop it, or choose one",
                ));
            }
        },
        order: usize::from(args.max_ngram_order),
        effective_order: if effective { EffectiveOrder::On } else { EffectiveOrder::Off },
        case: if args.lowercase { Case::Lower } else { Case::Mixed },
    })
}

fn chrf_options(args: &ChrfArgs) -> ChrfOptions {
    let epsilon = args.eps_smoothing;
    ChrfOptions {
        char_order: usize::from(args.char_order),
        word_order: usize::from(args.word_order),
        beta: args.beta,
        case: if args.lowercase { Case::Lower } else { Case::Mixed },
        whitespace: if args.whitespace { Whitespace::Kept } else { Whitespace::Removed },
        smoothing: if epsilon { ChrfSmoothing::Epsilon } else { ChrfSmoothing::EffectiveOrder },
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
#[path = "score_tests.rs"]
mod tests;
