//! What a route changes in heads, read once.

use http::{HeaderName, HeaderValue};

use crate::model::{HeaderChanges, HeaderRules};

/// Changes of both directions.
#[derive(Clone, Debug, Default)]
pub struct RouteHeaders {
    /// Of requests, on their way to the upstream.
    pub request: FieldChanges,
    /// Of answers, on their way to the client.
    pub response: FieldChanges,
}

/// Changes of one head.
#[derive(Clone, Debug, Default)]
pub struct FieldChanges {
    /// Fields that go.
    pub remove: Box<[HeaderName]>,
    /// Fields that are set; what was there goes.
    pub set: Box<[(HeaderName, HeaderValue)]>,
}

impl From<&HeaderRules> for RouteHeaders {
    fn from(rules: &HeaderRules) -> Self {
        Self { request: (&rules.request).into(), response: (&rules.response).into() }
    }
}

impl From<&HeaderChanges> for FieldChanges {
    fn from(changes: &HeaderChanges) -> Self {
        // Neither fails: the rules were checked when they were read.
        let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).ok();
        let set =
            changes.set.iter().filter_map(|(field, value)| Some((name(field)?, HeaderValue::from_str(value).ok()?)));
        Self { remove: changes.remove.iter().filter_map(|field| name(field)).collect(), set: set.collect() }
    }
}
