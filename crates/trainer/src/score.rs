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
    Bleu {
        /// The two sides
        #[command(flatten)]
        files: Files,
        /// Tokenization
        #[arg(long, value_enum, default_value = "13a")]
        tokenize: Tokenize,
        /// Smoothing of orders without a match
        #[arg(long, value_enum, default_value = "exp")]
        smooth_method: SmoothMethod,
        /// Value of floor (0.1) or add-k (1)
        #[arg(long)]
        smooth_value: Option<f64>,
        /// Longest n-gram
        #[arg(long, default_value_t = 4)]
        max_ngram_order: usize,
        /// Leave out orders that the hypothesis is too short for
        #[arg(long)]
        effective_order: bool,
        /// Ignore case
        #[arg(long)]
        lowercase: bool,
    },
    /// chrF and chrF++, equal to sacrebleu's
    Chrf {
        /// The two sides
        #[command(flatten)]
        files: Files,
        /// Longest character n-gram
        #[arg(long, default_value_t = 6)]
        char_order: usize,
        /// Longest word n-gram; 2 makes chrF++
        #[arg(long, default_value_t = 0)]
        word_order: usize,
        /// Weight of recall against precision
        #[arg(long, default_value_t = 2.0)]
        beta: f64,
        /// Count spaces as characters
        #[arg(long)]
        whitespace: bool,
        /// Epsilon smoothing instead of the effective order
        #[arg(long)]
        eps_smoothing: bool,
        /// Ignore case
        #[arg(long)]
        lowercase: bool,
    },
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
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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

    fn hypotheses(&self) -> Vec<&str> {
        self.hypotheses.iter().map(String::as_str).collect()
    }

    fn references(&self) -> Vec<Vec<&str>> {
        self.references.iter().map(|all| all.iter().map(String::as_str).collect()).collect()
    }
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        usage(format!("{}: {error}; give a UTF-8 text file with one text a line", path.display()))
    })?;
    if text.is_empty() {
        return Err(usage(format!("{} is empty: give one text a line", path.display())));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Scores and prints.
///
/// # Errors
/// Usage errors that name the file and the remedy.
pub fn print(args: &ScoreArgs) -> Result<()> {
    let (files, result) = match &args.metric {
        Metric::Bleu { files, .. }
        | Metric::Chrf { files, .. }
        | Metric::Rouge { files, .. }
        | Metric::Triples { files, .. } => (files, score(&args.metric)?),
    };
    if files.json {
        output::result(&serde_json::to_string(&result)?);
    } else {
        output::result(&format!("{} = {:.6}  {}", result.metric, result.score, result.signature));
        for (name, value) in &result.parts {
            output::result(&format!("  {name} = {value:.6}"));
        }
    }
    Ok(())
}

/// The score of the files.
///
/// # Errors
/// Usage errors that name the file and the remedy.
pub fn score(metric: &Metric) -> Result<ScoreResult> {
    match metric {
        Metric::Bleu { files, .. } => bleu(&Texts::read(files)?, &bleu_options(metric)),
        Metric::Chrf { files, .. } => chrf(&Texts::read(files)?, &chrf_options(metric)),
        Metric::Rouge { files, use_stemmer } => {
            let stemming = if *use_stemmer { Stemming::Porter } else { Stemming::None };
            rouge(&Texts::read(files)?, stemming)
        }
        Metric::Triples { files, case_folded } => {
            let same = if *case_folded { TripleMatch::CaseFolded } else { TripleMatch::Exact };
            triples(&Texts::read(files)?, same)
        }
    }
}

fn case(lowercase: bool) -> Case {
    if lowercase { Case::Lower } else { Case::Mixed }
}

fn bleu_options(metric: &Metric) -> BleuOptions {
    let Metric::Bleu {
        tokenize,
        smooth_method,
        smooth_value,
        max_ngram_order,
        effective_order,
        lowercase,
        ..
    } = metric
    else {
        return BleuOptions::default();
    };
    BleuOptions {
        tokenization: match tokenize {
            Tokenize::None => Tokenization::None,
            Tokenize::Mteval13a => Tokenization::Mteval13a,
            Tokenize::Intl => Tokenization::International,
            Tokenize::Char => Tokenization::Character,
        },
        smoothing: match smooth_method {
            SmoothMethod::None => Smoothing::None,
            SmoothMethod::Floor => smooth_value.map_or(Smoothing::FLOOR, Smoothing::Floor),
            SmoothMethod::AddK => smooth_value.map_or(Smoothing::ADD_K, Smoothing::AddK),
            SmoothMethod::Exp => Smoothing::Exp,
        },
        order: *max_ngram_order,
        effective_order: if *effective_order { EffectiveOrder::On } else { EffectiveOrder::Off },
        case: case(*lowercase),
    }
}

fn chrf_options(metric: &Metric) -> ChrfOptions {
    let Metric::Chrf { char_order, word_order, beta, whitespace, eps_smoothing, lowercase, .. } =
        metric
    else {
        return ChrfOptions::default();
    };
    ChrfOptions {
        char_order: *char_order,
        word_order: *word_order,
        beta: *beta,
        case: case(*lowercase),
        whitespace: if *whitespace { Whitespace::Kept } else { Whitespace::Removed },
        smoothing: if *eps_smoothing {
            ChrfSmoothing::Epsilon
        } else {
            ChrfSmoothing::EffectiveOrder
        },
    }
}

fn bleu(texts: &Texts, options: &BleuOptions) -> Result<ScoreResult> {
    let bleu = corpus_bleu(&texts.hypotheses(), &texts.references(), options)
        .map_err(|error| usage(error.to_string()))?;
    let ratio = bleu.hypothesis_length as f64 / bleu.reference_length.max(1) as f64;
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
    let references = texts.references();
    let rouge = corpus_rouge(&texts.hypotheses(), &references, stemming)
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
    let count = references.first().map_or(0, Vec::len);
    Ok(ScoreResult {
        metric: "rougeL".to_owned(),
        score: rouge.rouge_l.fmeasure,
        parts: parts.collect(),
        signature: stemming.signature(ReferenceCount::Fixed(count)),
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
            scores.max_by(|a, b| a.f1.total_cmp(&b.f1))
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
        signature: same.signature(),
    })
}
