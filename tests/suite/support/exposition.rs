//! Prometheus' text format, read strictly: what does not follow it panics.

use std::collections::BTreeMap;

/// One metric: its type, and each sample by its name and labels.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// With `_bucket`, `_sum` or `_count` for a histogram.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A whole answer of `/metrics`, by the metrics' names.
#[derive(Debug, Default)]
pub(crate) struct Scrape(pub(crate) BTreeMap<String, Family>);

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut families, mut current) = (BTreeMap::<String, Family>::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                let family = Family { help: help.to_owned(), ..Family::default() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{name} comes twice");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, current, "a type without help");
                kind.clone_into(&mut families.get_mut(name).unwrap().kind);
            } else {
                let sample = sample(line);
                let family = families.get_mut(&current).unwrap_or_else(|| panic!("of no metric: {line}"));
                let suffix = sample.name.strip_prefix(&current).unwrap_or_else(|| panic!("not of {current}: {line}"));
                let fits = if family.kind == "histogram" {
                    matches!(suffix, "_bucket" | "_sum" | "_count")
                } else {
                    suffix.is_empty()
                };
                assert!(fits, "{line}");
                family.samples.push(sample);
            }
        }
        Self(families)
    }

    /// The sum of all samples of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let all = self.0.values().flat_map(|family| &family.samples).filter(|sample| sample.name == name);
        let has = |sample: &&Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|has| has == value))
        };
        all.filter(has).map(|sample| sample.value).sum()
    }

    /// All values of a label.
    pub(crate) fn values(&self, label: &str) -> std::collections::BTreeSet<&str> {
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples.filter_map(|sample| sample.labels.get(label).map(String::as_str)).collect()
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> usize {
        self.0.values().map(|family| family.samples.len()).sum()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("no end: {line}")))),
    };
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
    Sample { name: name.to_owned(), labels, value }
}

/// No label of ours holds a comma or needs an escape, and one that did would fail here.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for label in text.split(',') {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {text}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.filter(|value| !value.contains(['"', '\\'])).unwrap_or_else(|| panic!("no value: {text}"));
        assert!(all.insert(name.to_owned(), value.to_owned()).is_none(), "{name} comes twice: {text}");
    }
    all
}
