//! What people said of completions, as numbers: counts, rates with intervals, agreement of raters.
//!
//! Plain functions on ratings. Leaves out: whether a rating is true to its policy, which takes the
//! policy; how reliable one rater is; learning.

mod agreement;
mod interval;
mod items;
mod tally;

pub use agreement::agreement;
pub use interval::wilson;
pub use items::agreement_by_kind;
pub use tally::tally;
