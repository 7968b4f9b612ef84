//! Plain pages: HTML from here, no scripts.

pub(crate) mod html;
pub(crate) mod moderation;
pub(crate) mod statistics;
