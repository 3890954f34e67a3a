//! The route table: host and path to a route, the most specific winning.
//!
//! ## Why
//! Routing crates refuse `/a/{x}` beside `/a/{*rest}`, which the contract orders; and what is matched here is
//! part of what is authorised, so the table is ours: a trie by segment with backtracking.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use smallvec::SmallVec;

use super::{CompileError, operation::GatewayRoute};
use crate::model::{PathTemplate, Segment};

/// Only rules put keys in, so a fast hash will do.
type Map<V> = HashMap<Box<str>, V, foldhash::fast::RandomState>;

/// A path of the admin service, served on the gateway's listener too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedPath {
    /// Its template, as `/api/v1/users/{user_id}`.
    pub template: PathTemplate,
}

/// What a request's path leads to.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The admin service, which authorises the request itself.
    Mounted(Arc<MountedPath>),
    /// An upstream.
    Route(Arc<GatewayRoute>),
}

/// An entry found, and the values of its template's parameters.
#[derive(Debug)]
pub struct Matched<'t> {
    /// The entry.
    pub entry: &'t Entry,
    /// Names and percent-decoded values, in the order of the path.
    pub params: SmallVec<[(&'t str, &'t str); 4]>,
}

type Values<'p> = SmallVec<[&'p str; 4]>;

#[derive(Debug, Default)]
struct Node {
    literals: Map<Node>,
    param: Option<Box<Node>>,
    rest: Option<Leaf>,
    leaf: Option<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    entry: Entry,
    names: Vec<String>,
}

/// All mounted paths and gateway routes.
#[derive(Debug, Default)]
pub struct RouteTable {
    mounted: Node,
    any_host: Node,
    hosts: Map<Node>,
}

impl RouteTable {
    pub(super) fn new(
        mounts: &[Arc<MountedPath>],
        routes: impl Iterator<Item = (PathTemplate, Arc<GatewayRoute>)>,
    ) -> Result<Self, CompileError> {
        let mut table = Self::default();
        for mount in mounts {
            // Two admin endpoints on one path are one mounted path.
            let _same = table.mounted.insert(&mount.template, Entry::Mounted(Arc::clone(mount)));
        }
        for (template, route) in routes {
            if let Some(mount) = mounts.iter().find(|mount| covers(&mount.template, &template)) {
                let (route, mounted) = (template.to_string(), mount.template.to_string());
                return Err(CompileError::RouteShadowed { route, mounted });
            }
            let node = match &route.host {
                Some(host) => table.hosts.entry(host.as_str().into()).or_default(),
                None => &mut table.any_host,
            };
            node.insert(&template, Entry::Route(route)).map_err(|other| {
                let other = match other {
                    Entry::Route(route) => route.id.to_string(),
                    Entry::Mounted(mount) => mount.template.to_string(),
                };
                CompileError::RouteConflict { route: template.to_string(), other }
            })?;
        }
        Ok(table)
    }

    /// Finds what `path`, percent-decoded and beginning with `/`, leads to on `host`, in lower case.
    ///
    /// Mounted paths win, then routes bound to the host, then routes for any host; among them literal segments
    /// beat `{name}`, which beats `{*name}`.
    pub fn find<'t>(&'t self, host: &str, path: &'t str) -> Option<Matched<'t>> {
        let mut first = None;
        let _stopped = self.visit(host, path, &mut |matched| {
            first = Some(matched);
            ControlFlow::Break(())
        });
        first
    }

    /// Everything that matches, the most specific first.
    pub fn candidates<'t>(&'t self, host: &str, path: &'t str) -> Vec<Matched<'t>> {
        let mut all = Vec::new();
        let _ended = self.visit(host, path, &mut |matched| {
            all.push(matched);
            ControlFlow::Continue(())
        });
        all
    }

    /// Every gateway route, in no order.
    pub(super) fn routes(&self) -> Vec<&Arc<GatewayRoute>> {
        let mut found = Vec::new();
        let mut open: Vec<&Node> = self.hosts.values().chain([&self.any_host]).collect();
        while let Some(node) = open.pop() {
            let leaves = [&node.leaf, &node.rest].into_iter().flatten();
            found.extend(leaves.filter_map(|leaf| match &leaf.entry {
                Entry::Route(route) => Some(route),
                Entry::Mounted(_) => None,
            }));
            open.extend(node.literals.values().chain(node.param.as_deref()));
        }
        found
    }

    fn visit<'t>(
        &'t self,
        host: &str,
        path: &'t str,
        found: &mut impl FnMut(Matched<'t>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(path) = path.strip_prefix('/') else {
            return ControlFlow::Continue(());
        };
        let trees = [Some(&self.mounted), self.hosts.get(host), Some(&self.any_host)];
        trees.into_iter().flatten().try_for_each(|tree| {
            tree.visit(Some(path), &mut SmallVec::new(), &mut |leaf, values| {
                let names = leaf.names.iter().map(String::as_str);
                let params = names.zip(values.iter().copied()).collect();
                found(Matched { entry: &leaf.entry, params })
            })
        })
    }
}

impl Node {
    fn insert(&mut self, template: &PathTemplate, entry: Entry) -> Result<(), Entry> {
        let mut node = self;
        let mut slot_is_rest = false;
        for segment in template.segments() {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.into()).or_default(),
                Segment::Param(_) => node = node.param.get_or_insert_default(),
                Segment::Rest(_) => slot_is_rest = true,
            }
        }
        let slot = if slot_is_rest { &mut node.rest } else { &mut node.leaf };
        match slot {
            Some(leaf) => Err(leaf.entry.clone()),
            None => {
                *slot = Some(Leaf { entry, names: template.params() });
                Ok(())
            }
        }
    }

    /// `path` is what follows the last slash passed, or `None` at the end.
    fn visit<'t, 'p>(
        &'t self,
        path: Option<&'p str>,
        values: &mut Values<'p>,
        found: &mut impl FnMut(&'t Leaf, &[&'p str]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(path) = path else {
            return self.leaf.as_ref().map_or(ControlFlow::Continue(()), |leaf| found(leaf, values));
        };
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        if let Some(node) = self.literals.get(segment) {
            node.visit(rest, values, found)?;
        }
        if let Some(node) = self.param.as_ref().filter(|_| !segment.is_empty()) {
            values.push(segment);
            node.visit(rest, values, found)?;
            values.pop();
        }
        if let Some(leaf) = self.rest.as_ref().filter(|_| !path.is_empty()) {
            values.push(path);
            found(leaf, values)?;
            values.pop();
        }
        ControlFlow::Continue(())
    }
}

/// Whether every path that matches `inner` matches `outer` too.
fn covers(outer: &PathTemplate, inner: &PathTemplate) -> bool {
    let (outer, inner) = (outer.segments(), inner.segments());
    let pairs_cover = outer.iter().zip(&inner).all(|pair| match pair {
        (Segment::Literal(a), Segment::Literal(b)) => a == b,
        (Segment::Param(_), Segment::Literal(text)) => !text.is_empty(),
        (Segment::Param(_), Segment::Param(_)) | (Segment::Rest(_), _) => true,
        (Segment::Literal(_) | Segment::Param(_), _) => false,
    });
    let ends_open = matches!(outer.last(), Some(Segment::Rest(_))) && inner.len() >= outer.len();
    pairs_cover && (outer.len() == inner.len() || ends_open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::operation::tests::route;

    fn table(templates: &[(&str, Option<&str>)]) -> Result<RouteTable, CompileError> {
        let mounts = [Arc::new(MountedPath { template: path("/api/v1/users/{id}") })];
        let routes = templates.iter().zip(1..).map(|((text, host), id)| (path(text), route(id, text, *host)));
        RouteTable::new(&mounts, routes)
    }

    fn path(text: &str) -> PathTemplate {
        PathTemplate::try_from(text.to_owned()).unwrap()
    }

    fn found(table: &RouteTable, host: &str, path: &str) -> Option<(i64, Vec<(String, String)>)> {
        let matched = table.find(host, path)?;
        let Entry::Route(route) = matched.entry else { return Some((0, Vec::new())) };
        Some((
            route.id.0,
            matched.params.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ))
    }

    #[test]
    fn most_specific_wins() {
        let table = table(&[
            ("/a/b/d", None),
            ("/a/{x}/c", None),
            ("/a/{*rest}", None),
            ("/a/{x}", None),
            ("/{*rest}", Some("h.example")),
            ("/", None),
        ])
        .unwrap();
        let id = |path| found(&table, "x", path).map(|(id, _)| id);
        assert_eq!(id("/a/b/d"), Some(1));
        assert_eq!(id("/a/b/c"), Some(2));
        assert_eq!(id("/a/b/e"), Some(3));
        assert_eq!(id("/a/b"), Some(4));
        assert_eq!(id("/"), Some(6));
        assert_eq!(id("/a/"), None);
        assert_eq!(id("/a"), None);
        assert_eq!(id("/A/b"), None);
        assert_eq!(found(&table, "h.example", "/a/b").map(|(id, _)| id), Some(5));
        assert_eq!(found(&table, "h.example", "/api/v1/users/7").map(|(id, _)| id), Some(0));
        assert_eq!(found(&table, "x", "/a/1/c").unwrap().1, [("x".to_owned(), "1".to_owned())]);
        assert_eq!(found(&table, "x", "/a/1/2/3").unwrap().1, [("rest".to_owned(), "1/2/3".to_owned())]);
    }

    #[test]
    fn ties_and_shadows_are_refused() {
        let tie = table(&[("/a/{x}", None), ("/a/{y}", None)]);
        assert!(matches!(tie, Err(CompileError::RouteConflict { .. })));
        assert!(table(&[("/a/{x}", None), ("/a/{y}", Some("h"))]).is_ok());
        for shadowed in ["/api/v1/users/{x}", "/api/v1/users/me"] {
            assert!(matches!(table(&[(shadowed, None)]), Err(CompileError::RouteShadowed { .. })), "{shadowed}");
        }
        assert!(table(&[("/api/v1/{*rest}", None), ("/api/v1/other", None)]).is_ok());
    }

    proptest! {
        /// The trie answers as a plain search over all templates, ordered by specificity, would.
        #[test]
        fn agrees_with_a_search(templates in prop::collection::vec("(/(a|b|\\{x\\})){1,4}(/\\{\\*r\\})?", 1..12),
                                wanted in "(/(a|b|c)?){1,6}") {
            let mut routes: Vec<PathTemplate> = Vec::new();
            for template in &templates {
                let shape = |t: &PathTemplate| t.segments().iter().map(rank).collect::<Vec<_>>();
                // Names differ within a template, so that each is a valid one.
                let mut number = 0;
                let text: String = template.split("{x}").fold(String::new(), |text, part| {
                    number += 1;
                    if text.is_empty() { part.to_owned() } else { format!("{text}{{x{number}}}{part}") }
                });
                let template = path(&text);
                if !routes.iter().any(|other| shape(other) == shape(&template)) {
                    routes.push(template);
                }
            }
            let numbered = routes.iter().zip(1..).map(|(t, id)| (t.clone(), route(id, t.as_str(), None)));
            let table = RouteTable::new(&[], numbered).unwrap();
            let best = routes.iter().zip(1..).filter(|(t, _)| matches(t, &wanted))
                .min_by_key(|(t, _)| t.segments().iter().map(rank).collect::<Vec<_>>());
            prop_assert_eq!(found(&table, "", &wanted).map(|(id, _)| id), best.map(|(_, id)| id));
        }
    }

    fn rank(segment: &Segment) -> (u8, String) {
        match segment {
            Segment::Literal(text) => (0, text.clone()),
            Segment::Param(_) => (1, String::new()),
            Segment::Rest(_) => (2, String::new()),
        }
    }

    fn matches(template: &PathTemplate, path: &str) -> bool {
        let segments = template.segments();
        let parts: Vec<&str> = path[1..].split('/').collect();
        for (index, segment) in segments.iter().enumerate() {
            match (segment, parts.get(index)) {
                (Segment::Rest(_), Some(_)) => return !parts[index..].join("/").is_empty(),
                (Segment::Literal(text), Some(part)) if text == part => {}
                (Segment::Param(_), Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        segments.len() == parts.len()
    }
}
