//! The counters of answered requests, found without making text of their labels.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::telemetry::{Metrics, RequestMeter};

use super::context::RouteLabel;

/// More kinds of requests than this are looked up anew.
const MAX_KINDS: usize = 16 * 1024;

type Kind = (RouteLabel, &'static str, u16);

/// One meter for each route, method and status that was answered.
#[derive(Debug, Default)]
pub(super) struct Meters(RwLock<HashMap<Kind, RequestMeter, foldhash::fast::RandomState>>);

impl Meters {
    /// The meter of a request that was answered with `status`.
    pub(super) fn of(&self, metrics: &Metrics, route: RouteLabel, method: &str, status: u16) -> RequestMeter {
        let kind = (route, Metrics::method(method), status);
        if let Some(meter) = self.0.read().get(&kind) {
            return meter.clone();
        }
        let mut id = itoa::Buffer::new();
        let label = match route {
            RouteLabel::None => "none",
            RouteLabel::Admin => "admin",
            RouteLabel::Route(route) => id.format(route.0),
        };
        let meter = metrics.requests(label, kind.1, status);
        let mut kinds = self.0.write();
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        kinds.insert(kind, meter.clone());
        meter
    }
}
