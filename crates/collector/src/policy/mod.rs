//! Policies: what visitors can load, and what ratings can name.

pub(crate) mod publish;
pub(crate) mod shelf;
