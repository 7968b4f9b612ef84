//! The collector through its routes, on SQLite and on PostgreSQL; through its sockets; and as a program.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod attacks;
mod command_line;
mod encrypted;
mod exports;
mod faults;
mod made;
mod pages;
mod policies;
mod postgres;
mod program;
mod queries;
mod raters;
mod ratings;
mod sockets;
mod stand;
