//! What people said of completions, as numbers: counts, rates with intervals, agreement of raters, and
//! how far to trust whom.
//!
//! Plain functions on ratings and on votes and labels with numbered raters. Leaves out: whether a
//! rating is true to its policy, which takes the policy; learning.

mod agreement;
mod alpha;
mod bradley_terry;
mod choices;
mod counterfactual;
mod crowd_bt;
mod dawid_skene;
pub mod edit_distance;
mod evidence;
#[cfg(test)]
mod golden;
mod interval;
mod items;
mod lbfgs;
mod newton;
mod position;
mod reliability;
mod resample;
#[cfg(test)]
mod robustness_tests;
mod tally;
mod vote;

pub use agreement::{agreement, agreement_of_counts};
pub use alpha::{MISSING, Scale, alpha, count_values};
pub use bradley_terry::{BradleyTerry, Comparisons, Position, Standings, Strengths};
pub use choices::choices;
pub use counterfactual::{Logged, Modeled, doubly_robust, effective_number, ips, snips};
pub use crowd_bt::{CrowdBt, CrowdScores, Otherwise};
pub use dawid_skene::{DawidSkene, Label, dawid_skene};
pub use evidence::{Evidence, Trust};
pub use interval::wilson;
pub use items::{agreement_by_kind, labels_by_kind};
pub use position::left_share;
pub use reliability::{PRIOR_JUDGEMENTS, Reliability, Tested, weights};
pub use tally::tally;
pub use vote::{Outcome, Vote};
