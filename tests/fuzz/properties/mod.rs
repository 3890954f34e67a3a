//! What holds for every input, one file for each fuzz target. `tests/suite/corpus.rs` replays the corpus on them, so that
//! they hold on a stable compiler too.

mod chunks;
mod forwarded;
mod head;
mod proxy_protocol;
pub(crate) mod readings;
mod settings;
mod target;
mod token;

/// Panics where it does not hold.
type Property = fn(&[u8]);

/// Each target's name and its property.
pub(crate) const PROPERTIES: &[(&str, Property)] = &[
    ("chunks", chunks::holds),
    ("forwarded", forwarded::holds),
    ("head", head::holds),
    ("proxy_protocol", proxy_protocol::holds),
    ("settings", settings::holds),
    ("target", target::holds),
    ("token", token::holds),
];

/// Holds an input against the property of this name.
pub(crate) fn holds(name: &str, bytes: &[u8]) {
    let property = PROPERTIES.iter().find(|(known, _)| *known == name).expect("a property of this name");
    property.1(bytes);
}
