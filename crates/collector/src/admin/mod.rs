//! What the operator does: behind a token.

pub(crate) mod guard;
pub(crate) mod policies;
pub(crate) mod ratings;
pub mod token;
