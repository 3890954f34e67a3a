//! The policy engine: held against Cedar itself, and against growth.

mod asking;
mod callers;
mod certificates;
mod examples;
mod files;
mod generated;
mod oracle;
mod parts;
mod reach;
mod texts;
mod tools;
mod world;
