//! The admin API: reads what clients of the predecessor send, and answers in its words.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod page;
pub(crate) mod reply;
