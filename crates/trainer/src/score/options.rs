//! The metrics of `trainer score` with their options, as typed.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use kudos_core::text::bleu::{BleuOptions, EffectiveOrder, Smoothing};
use kudos_core::text::chrf::{ChrfOptions, ChrfSmoothing, Whitespace};
use kudos_core::text::tokenize::{Case, Tokenization};

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
    /// What a sentence encoder says: cosine, and tokens matched greedily as by BERTScore
    Likeness {
        /// The two sides
        #[command(flatten)]
        files: Files,
        /// Folder of a sentence encoder of the BERT family
        #[arg(long, value_name = "DIR")]
        encoder: PathBuf,
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

impl Metric {
    /// The files of either side.
    pub(super) fn files(&self) -> &Files {
        match self {
            Self::Bleu(args) => &args.files,
            Self::Chrf(args) => &args.files,
            Self::Rouge { files, .. }
            | Self::Likeness { files, .. }
            | Self::Triples { files, .. } => files,
        }
    }
}

impl BleuArgs {
    /// The options of the metric.
    ///
    /// # Errors
    /// If they contradict each other.
    pub(super) fn options(&self) -> Result<BleuOptions> {
        let effective = self.effective_order || self.files.sentence_level;
        Ok(BleuOptions {
            tokenization: match self.tokenize {
                Tokenize::None => Tokenization::None,
                Tokenize::Mteval13a => Tokenization::Mteval13a,
                Tokenize::Intl => Tokenization::International,
                Tokenize::Char => Tokenization::Character,
            },
            smoothing: match (self.smooth_method, self.smooth_value) {
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
            order: usize::from(self.max_ngram_order),
            effective_order: if effective { EffectiveOrder::On } else { EffectiveOrder::Off },
            case: if self.lowercase { Case::Lower } else { Case::Mixed },
        })
    }
}

impl ChrfArgs {
    /// The options of the metric.
    pub(super) fn options(&self) -> ChrfOptions {
        let epsilon = self.eps_smoothing;
        ChrfOptions {
            char_order: usize::from(self.char_order),
            word_order: usize::from(self.word_order),
            beta: self.beta,
            case: if self.lowercase { Case::Lower } else { Case::Mixed },
            whitespace: if self.whitespace { Whitespace::Kept } else { Whitespace::Removed },
            smoothing: if epsilon { ChrfSmoothing::Epsilon } else { ChrfSmoothing::EffectiveOrder },
        }
    }
}
