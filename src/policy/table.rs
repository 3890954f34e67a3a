//! The route table: host and path to a route, the most specific winning.
//!
//! ## Why
//! Routing crates refuse `/a/{x}` beside `/a/{*rest}`, which the contract orders; and what is matched here is
//! part of what is authorised, so the table is ours: a trie by segment with backtracking.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{CompileError, mounted::MountedPath, operation::GatewayRoute};
use crate::model::{PathTemplate, Segment};

/// Only rules put keys in, so a fast hash will do. Keys lie beside their values: among ten thousand routes each look
/// elsewhere is a wait for memory.
type Map<V> = HashMap<SmolStr, V, foldhash::fast::RandomState>;

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

/// Nodes are shared between tables: a changed route costs the nodes on its path.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: Map<Arc<Self>>,
    param: Option<Arc<Self>>,
    rest: Option<Arc<Leaf>>,
    leaf: Option<Arc<Leaf>>,
}

#[derive(Debug)]
struct Leaf {
    entry: Entry,
    names: Arc<[String]>,
}

/// All mounted paths and gateway routes.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    mounts: Arc<[(Vec<Segment>, String)]>,
    mounted: Arc<Node>,
    any_host: Arc<Node>,
    hosts: Map<Arc<Node>>,
}

impl RouteTable {
    /// A table of mounted paths alone.
    pub(super) fn new(mounts: &[Arc<MountedPath>]) -> Self {
        let mut mounted = Node::default();
        for mount in mounts {
            // Two admin endpoints on one path are one mounted path.
            let _same = mounted.insert(&mount.template, Entry::Mounted(Arc::clone(mount)));
        }
        let mounts = mounts.iter().map(|mount| (mount.template.segments(), mount.template.to_string())).collect();
        Self { mounts, mounted: Arc::new(mounted), ..Self::default() }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// It lies on a mounted path, or another route matches exactly the same paths.
    pub(super) fn insert(&mut self, template: &PathTemplate, route: &Arc<GatewayRoute>) -> Result<(), CompileError> {
        let segments = template.segments();
        if let Some((_, mounted)) = self.mounts.iter().find(|(mounted, _)| covers(mounted, &segments)) {
            return Err(CompileError::RouteShadowed { route: template.to_string(), mounted: mounted.clone() });
        }
        self.tree(route).insert(template, Entry::Route(Arc::clone(route))).map_err(|other| {
            let other = match other {
                Entry::Route(route) => route.id.to_string(),
                Entry::Mounted(mount) => mount.template.to_string(),
            };
            CompileError::RouteConflict { route: template.to_string(), other }
        })
    }

    /// Takes a route out, which is there.
    pub(super) fn remove(&mut self, template: &PathTemplate, route: &Arc<GatewayRoute>) {
        let tree = self.tree(route);
        tree.remove(&template.segments());
        if tree.is_empty()
            && let Some(host) = &route.host
        {
            self.hosts.remove(host.as_str());
        }
    }

    fn tree(&mut self, route: &GatewayRoute) -> &mut Node {
        Arc::make_mut(match &route.host {
            Some(host) => self.hosts.entry(host.as_str().into()).or_default(),
            None => &mut self.any_host,
        })
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

    /// Everything that matches, the most specific first, but not more than `most`.
    pub(super) fn candidates<'t>(&'t self, host: &str, path: &'t str, most: usize) -> Vec<Matched<'t>> {
        let mut all = Vec::new();
        let _ended = self.visit(host, path, &mut |matched| {
            all.push(matched);
            if all.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        all
    }

    /// Every gateway route, in no order.
    pub fn routes(&self) -> Vec<&Arc<GatewayRoute>> {
        let mut found = Vec::new();
        let mut open: Vec<&Node> = self.hosts.values().chain([&self.any_host]).map(|tree| &**tree).collect();
        while let Some(node) = open.pop() {
            let leaves = [&node.leaf, &node.rest].into_iter().flatten();
            found.extend(leaves.filter_map(|leaf| match &leaf.entry {
                Entry::Route(route) => Some(route),
                Entry::Mounted(_) => None,
            }));
            open.extend(node.literals.values().chain(&node.param).map(|node| &**node));
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
        let trees = [Some(&*self.mounted), self.hosts.get(host).map(|tree| &**tree), Some(&*self.any_host)];
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
                Segment::Literal(text) => node = Arc::make_mut(node.literals.entry(text.into()).or_default()),
                Segment::Param(_) => node = Arc::make_mut(node.param.get_or_insert_default()),
                Segment::Rest(_) => slot_is_rest = true,
            }
        }
        let slot = if slot_is_rest { &mut node.rest } else { &mut node.leaf };
        match slot {
            Some(leaf) => Err(leaf.entry.clone()),
            None => {
                *slot = Some(Arc::new(Leaf { entry, names: template.params().into() }));
                Ok(())
            }
        }
    }

    /// Takes out what `segments` lead to, and the nodes that lead nowhere then.
    fn remove(&mut self, segments: &[Segment]) {
        match segments {
            [] => self.leaf = None,
            [Segment::Rest(_), ..] => self.rest = None,
            [Segment::Literal(text), rest @ ..] => {
                if let Some(next) = self.literals.get_mut(text.as_str()) {
                    let node = Arc::make_mut(next);
                    node.remove(rest);
                    if node.is_empty() {
                        self.literals.remove(text.as_str());
                    }
                }
            }
            [Segment::Param(_), rest @ ..] => {
                if let Some(next) = &mut self.param {
                    let node = Arc::make_mut(next);
                    node.remove(rest);
                    if node.is_empty() {
                        self.param = None;
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.param.is_none() && self.rest.is_none() && self.leaf.is_none()
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
fn covers(outer: &[Segment], inner: &[Segment]) -> bool {
    let pairs_cover = outer.iter().zip(inner).all(|pair| match pair {
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
        let mounts = [Arc::new(MountedPath { template: path("/api/v1/users/{id}"), operations: Vec::new() })];
        let mut table = RouteTable::new(&mounts);
        for ((text, host), id) in templates.iter().zip(1..) {
            table.insert(&path(text), &route(id, text, *host))?;
        }
        Ok(table)
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
            let numbered: Vec<_> = routes.iter().zip(1..).map(|(t, id)| (t, route(id, t.as_str(), None))).collect();
            let mut table = RouteTable::new(&[]);
            for (template, route) in &numbered {
                table.insert(template, route).unwrap();
            }
            let best = routes.iter().zip(1..).filter(|(t, _)| matches(t, &wanted))
                .min_by_key(|(t, _)| t.segments().iter().map(rank).collect::<Vec<_>>());
            prop_assert_eq!(found(&table, "", &wanted).map(|(id, _)| id), best.map(|(_, id)| id));

            // Without every other one, it answers as if those had never been there, and leaves other tables alone.
            let full = table.clone();
            for (template, route) in numbered.iter().skip(1).step_by(2) {
                table.remove(template, route);
            }
            let left = numbered.iter().step_by(2).filter(|(t, _)| matches(t, &wanted));
            let left = left.min_by_key(|(t, _)| t.segments().iter().map(rank).collect::<Vec<_>>());
            prop_assert_eq!(found(&table, "", &wanted).map(|(id, _)| id), left.map(|(_, route)| route.id.0));
            prop_assert_eq!(found(&full, "", &wanted).map(|(id, _)| id), best.map(|(_, id)| id));
            for (template, route) in numbered.iter().step_by(2) {
                table.remove(template, route);
            }
            prop_assert!(table.any_host.is_empty());
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
