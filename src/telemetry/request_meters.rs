//! Counters of answered requests.

use std::array;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

const REQUESTS: &str = "cedargate_requests_total";
const REQUESTS_HELP: &str = "Requests answered by the gateway.";
const SECONDS: &str = "cedargate_request_seconds";
const SECONDS_HELP: &str = "From the request's head to the answer's end.";
/// Upper bounds of the histogram, in microseconds.
const BOUNDS: [u64; 16] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];
/// Methods that are labels of their own; any other is counted as `OTHER`, so that clients cannot add series.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
/// Kinds beyond these are counted as one: what upstreams answer with is theirs to choose.
const MOST_KINDS: usize = 256 * 1024;

/// Which route a request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteLabel {
    /// None matched.
    #[default]
    None,
    /// A mounted path of the admin service.
    Admin,
    /// The gateway route of this id.
    Route(i64),
    /// One of those for which there was no room.
    Other,
}

impl RouteLabel {
    fn text(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Admin => "admin".to_owned(),
            Self::Route(id) => id.to_string(),
            Self::Other => "other".to_owned(),
        }
    }
}

/// What is counted together when there is no room for more kinds.
const REST: Kind = Kind { route: RouteLabel::Other, method: "OTHER", status: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    route: RouteLabel,
    method: &'static str,
    status: u16,
}

/// Counts answered requests by route, method and status, and how long they took by route; cheap to clone.
///
/// ## Why
/// Every request is counted, and among ten thousand routes none is in a near cache. So one place in memory has all that
/// a request adds to, and what is told of it is summed up when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct RequestMeters(Arc<RwLock<HashMap<Kind, Meter, foldhash::fast::RandomState>>>);

#[derive(Debug, Default)]
struct Meter {
    /// The sum of all durations.
    micros: AtomicU64,
    /// How many took no longer than each bound, but longer than the one before; at last those beyond all.
    counts: [AtomicU64; BOUNDS.len() + 1],
}

impl Meter {
    fn count(&self, took: Duration) {
        let place = BOUNDS.partition_point(|bound| Duration::from_micros(*bound) < took);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn read(&self) -> Reading {
        Reading {
            micros: self.micros.load(Ordering::Relaxed),
            counts: array::from_fn(|place| self.counts[place].load(Ordering::Relaxed)),
        }
    }
}

/// What a meter says at one moment.
#[derive(Default)]
struct Reading {
    micros: u64,
    counts: [u64; BOUNDS.len() + 1],
}

impl Reading {
    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.micros = self.micros.saturating_add(other.micros);
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    fn histogram(&self) -> Histogram {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(self.counts).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(Duration::from_micros(*bound).as_secs_f64());
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.total());
        histogram.set_sample_sum(Duration::from_micros(self.micros).as_secs_f64());
        histogram
    }
}

impl RequestMeters {
    /// Counts a request that was answered with `status`.
    pub fn count(&self, route: RouteLabel, method: &str, status: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let kind = Kind { route, method, status };
        {
            let meters = self.0.read();
            let rest = || meters.get(&REST).filter(|_| meters.len() > MOST_KINDS);
            if let Some(meter) = meters.get(&kind).or_else(rest) {
                return meter.count(took);
            }
        }
        let mut meters = self.0.write();
        let has_room = meters.len() < MOST_KINDS || meters.contains_key(&kind);
        meters.entry(if has_room { kind } else { REST }).or_default().count(took);
    }

    /// Requests wait while they are read, so that nothing is made of the readings before all are there.
    fn read(&self) -> Vec<(Kind, Reading)> {
        self.0.read().iter().map(|(kind, meter)| (*kind, meter.read())).collect()
    }

    fn families(&self) -> [MetricFamily; 2] {
        let mut routes: BTreeMap<RouteLabel, Reading> = BTreeMap::new();
        let mut requests = Vec::new();
        for (kind, reading) in self.read() {
            #[expect(clippy::cast_precision_loss, reason = "all numbers of the format are of this type")]
            let total = reading.total() as f64;
            let mut counter = Counter::default();
            counter.set_value(total);
            let status = format!("{:03}", kind.status);
            let mut metric =
                labelled([("method", kind.method.to_owned()), ("route", kind.route.text()), ("status", status)]);
            metric.set_counter(counter);
            requests.push(metric);
            routes.entry(kind.route).or_default().add(&reading);
        }
        let seconds = routes.into_iter().map(|(route, reading)| {
            let mut metric = labelled([("route", route.text())]);
            metric.set_histogram(reading.histogram());
            metric
        });
        let seconds = seconds.collect();
        [
            family(REQUESTS, REQUESTS_HELP, MetricType::COUNTER, requests),
            family(SECONDS, SECONDS_HELP, MetricType::HISTOGRAM, seconds),
        ]
    }
}

fn labelled<const N: usize>(pairs: [(&str, String); N]) -> Metric {
    let pairs = pairs.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    });
    Metric::from_label(pairs.collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// As the registry asks for them.
pub(super) struct Collected {
    meters: RequestMeters,
    descriptions: [Desc; 2],
}

impl Collected {
    pub(super) fn of(meters: &RequestMeters) -> Result<Self, prometheus::Error> {
        let described = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        let requests = described(REQUESTS, REQUESTS_HELP, &["route", "method", "status"])?;
        let descriptions = [requests, described(SECONDS, SECONDS_HELP, &["route"])?];
        Ok(Self { meters: meters.clone(), descriptions })
    }
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.meters.families().into()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;

    fn text(meters: &RequestMeters) -> String {
        let registry = Registry::new();
        registry.register(Box::new(Collected::of(meters).unwrap())).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn requests_are_told_by_kind_and_durations_by_route() {
        let meters = RequestMeters::default();
        let ms = Duration::from_millis;
        meters.count(RouteLabel::Route(17), "GET", 200, ms(3));
        meters.count(RouteLabel::Route(17), "GET", 200, ms(5));
        meters.count(RouteLabel::Route(17), "POST", 502, ms(61_000));
        meters.count(RouteLabel::None, "BREW", 404, Duration::ZERO);
        let text = text(&meters);
        for line in [
            "cedargate_requests_total{method=\"GET\",route=\"17\",status=\"200\"} 2",
            "cedargate_requests_total{method=\"POST\",route=\"17\",status=\"502\"} 1",
            "cedargate_requests_total{method=\"OTHER\",route=\"none\",status=\"404\"} 1",
            "cedargate_request_seconds_bucket{route=\"17\",le=\"0.002\"} 0",
            "cedargate_request_seconds_bucket{route=\"17\",le=\"0.005\"} 2",
            "cedargate_request_seconds_bucket{route=\"17\",le=\"60\"} 2",
            "cedargate_request_seconds_bucket{route=\"17\",le=\"+Inf\"} 3",
            "cedargate_request_seconds_sum{route=\"17\"} 61.008",
            "cedargate_request_seconds_count{route=\"17\"} 3",
            "cedargate_request_seconds_bucket{route=\"none\",le=\"0.0005\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        for kind in ["# TYPE cedargate_requests_total counter", "# TYPE cedargate_request_seconds histogram"] {
            assert!(text.contains(kind), "{kind}");
        }
    }

    #[test]
    fn kinds_are_bounded_and_no_request_is_left_out() {
        let meters = RequestMeters::default();
        let routes = i64::try_from(MOST_KINDS).unwrap() + 10;
        for route in 0..routes {
            meters.count(RouteLabel::Route(route), "GET", 200, Duration::ZERO);
        }
        // Known ones are still told apart.
        meters.count(RouteLabel::Route(0), "GET", 200, Duration::ZERO);
        meters.count(RouteLabel::Route(0), "GET", 404, Duration::ZERO);
        let [requests, _] = meters.families();
        assert_eq!(requests.get_metric().len(), MOST_KINDS + 1);
        let text = text(&meters);
        assert!(text.contains("{method=\"OTHER\",route=\"other\",status=\"000\"} 11"));
        assert!(text.contains("{method=\"GET\",route=\"0\",status=\"200\"} 2"));
    }

    #[test]
    fn writers_do_not_lose_each_others_requests() {
        let meters = RequestMeters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let meters = meters.clone();
                scope.spawn(move || {
                    (0..1_000).for_each(|n| meters.count(RouteLabel::Route(n % 10), "GET", 200, Duration::ZERO));
                });
            }
        });
        let total: u64 = meters.0.read().values().map(|meter| meter.read().total()).sum();
        assert_eq!(total, 4_000);
    }
}
