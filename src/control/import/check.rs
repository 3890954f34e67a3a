//! Rows of the predecessor to rows of ours: normalised, or refused by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;

use super::{
    kinds::{Kind, title},
    report::{Report, shown},
};
use crate::{
    model::{
        Category, Email, Icon, Label, ModuleId, ModuleName, PathTemplate, PermissionId, RoleId, RouteId, SUPER_ROLE,
        Secret, Timestamp, UserId, Username, stored_role_name,
        takeover::{Installation, Module, Permission, Role, Route, User},
    },
    store::predecessor,
};

/// Checks all rows; what cannot be taken over is in the report, and not in what is returned.
pub(super) fn check(found: predecessor::Installation, report: &mut Report) -> Installation {
    let mut checked = Installation {
        permissions: each(found.permissions, report, permission),
        roles: each(found.roles, report, role),
        users: each(found.users, report, user),
        modules: each(found.modules, report, module),
        routes: each(found.routes, report, route),
        ..Installation::default()
    };
    if !checked.roles.iter().any(|role| role.name.as_str() == SUPER_ROLE) {
        report.refused.add(|| format!("there is no role {SUPER_ROLE}: the template makes it at its first start"));
    }
    refuse_namesakes(&checked.permissions, report);
    refuse_namesakes(&checked.roles, report);
    refuse_namesakes(&checked.users, report);
    refuse_namesakes(&checked.modules, report);
    refuse_namesakes(&checked.routes, report);
    checked.routes = from_the_root(checked.routes, &checked.modules, report);
    let links = &mut checked.links;
    links.grants = pairs(found.role_permissions, RoleId, PermissionId);
    links.assignments = pairs(found.user_roles, UserId, RoleId);
    links.of_modules = pairs(found.module_roles, ModuleId, RoleId);
    links.of_routes = pairs(found.route_roles, RouteId, RoleId);
    report.read.insert("grant", links.grants.len());
    report.read.insert("assignment", links.assignments.len());
    checked
}

fn each<R, T: Kind>(rows: Vec<R>, report: &mut Report, read: fn(R, &mut Row<'_>) -> Option<T>) -> Vec<T> {
    report.read.insert(T::NAME, rows.len());
    let mut row = Row { report, kind: T::NAME, id: 0 };
    rows.into_iter().filter_map(|found| read(found, &mut row)).collect()
}

fn pairs<A: Ord, B: Ord>(rows: Vec<(i64, i64)>, left: fn(i64) -> A, right: fn(i64) -> B) -> BTreeSet<(A, B)> {
    rows.into_iter().map(|(a, b)| (left(a), right(b))).collect()
}

/// The row that is being read.
struct Row<'r> {
    report: &'r mut Report,
    kind: &'static str,
    id: i64,
}

impl Row<'_> {
    /// Notes which row it is.
    fn is(&mut self, id: i64) -> Option<i64> {
        self.id = id;
        if id > 0 {
            return Some(id);
        }
        self.refuse(|| "its id is not positive".to_owned())
    }

    fn refuse<T>(&mut self, reason: impl FnOnce() -> String) -> Option<T> {
        let (kind, id) = (self.kind, self.id);
        self.report.refused.add(|| format!("{kind} {id}: {}", reason()));
        None
    }

    fn adjust(&mut self, field: &str, given: &str, kept: &str) {
        if given != kept {
            let (kind, id) = (self.kind, self.id);
            self.report.adjusted.add(|| format!("{kind} {id}: {field} {} becomes {}", shown(given), shown(kept)));
        }
    }

    /// A value that must be there.
    fn required<T>(&mut self, field: &str, given: Option<String>) -> Option<T>
    where
        T: TryFrom<String> + Display,
        T::Error: Display,
    {
        match given {
            Some(given) => self.value(field, &given),
            None => self.refuse(|| format!("it has no {field}")),
        }
    }

    fn value<T>(&mut self, field: &str, given: &str) -> Option<T>
    where
        T: TryFrom<String> + Display,
        T::Error: Display,
    {
        match T::try_from(given.to_owned()) {
            Ok(value) => {
                self.adjust(field, given, &value.to_string());
                Some(value)
            }
            Err(reason) => self.refuse(|| format!("{field} {}: {reason}", shown(given))),
        }
    }

    /// A value that may be missing; the outer `None` is a fault.
    #[expect(clippy::option_option, reason = "a fault, nothing, or something")]
    fn optional<T>(&mut self, field: &str, given: Option<String>) -> Option<Option<T>>
    where
        T: TryFrom<String> + Display,
        T::Error: Display,
    {
        match given {
            Some(given) => self.value(field, &given).map(Some),
            None => Some(None),
        }
    }

    /// An icon of blanks is none.
    #[expect(clippy::option_option, reason = "a fault, nothing, or something")]
    fn icon(&mut self, given: Option<String>) -> Option<Option<Icon>> {
        self.optional("icon", given.filter(|icon| !icon.trim().is_empty()))
    }

    /// A moment; without an offset it is one of UTC.
    #[expect(clippy::option_option, reason = "a fault, nothing, or something")]
    fn moment(&mut self, field: &str, given: Option<String>) -> Option<Option<Timestamp>> {
        let Some(given) = given else { return Some(None) };
        let read = Timestamp::try_from(given.as_str()).or_else(|_| Timestamp::try_from(format!("{given}Z").as_str()));
        match read {
            Ok(moment) => Some(Some(moment)),
            Err(reason) => self.refuse(|| format!("{field} {}: {reason}", shown(&given))),
        }
    }

    /// What bcrypt made; anything else would lock the user out in silence.
    fn hash(&mut self, given: Option<Secret<String>>) -> Option<Secret<String>> {
        let is_bcrypt = |hash: &Secret<String>| hash.expose().parse::<bcrypt::HashParts>().is_ok();
        match given.filter(is_bcrypt) {
            Some(hash) => Some(hash),
            None => self.refuse(|| "its password hash is not one of bcrypt".to_owned()),
        }
    }
}

fn permission(found: predecessor::Permission, row: &mut Row<'_>) -> Option<Permission> {
    let id = row.is(found.id);
    let name = row.required("name", found.name);
    let category = row.optional::<Category>("category", found.category);
    Some(Permission { id: PermissionId(id?), name: name?, description: found.description, category: category? })
}

fn role(found: predecessor::Role, row: &mut Row<'_>) -> Option<Role> {
    let id = row.is(found.id);
    // An older version called the super role otherwise.
    let stored = found.name.as_deref().map(|name| stored_role_name(name).to_owned());
    if let (Some(given), Some(stored)) = (&found.name, &stored) {
        row.adjust("name", given, stored);
    }
    let is_system_role = found.is_system_role == Some(true) || stored.as_deref() == Some(SUPER_ROLE);
    let name = row.required("name", stored);
    Some(Role { id: RoleId(id?), name: name?, description: found.description, is_system_role })
}

fn user(found: predecessor::User, row: &mut Row<'_>) -> Option<User> {
    let id = row.is(found.id);
    let username = row.required::<Username>("username", found.username);
    let email = row.required::<Email>("email", found.email);
    let password_hash = row.hash(found.hashed_password);
    let created_at = row.moment("created_at", found.created_at);
    Some(User {
        id: UserId(id?),
        username: username?,
        email: email?,
        // To the predecessor, what is not said is no.
        is_active: found.is_active == Some(true),
        password_hash: password_hash?,
        created_at: created_at?,
    })
}

fn module(found: predecessor::Module, row: &mut Row<'_>) -> Option<Module> {
    let id = row.is(found.id);
    let name = row.required::<ModuleName>("name", found.name);
    let label = row.required::<Label>("label", found.label);
    let icon = row.icon(found.icon);
    let route = match found.route.filter(|route| !route.trim().is_empty()) {
        Some(route) if route.chars().count() > 255 => row.refuse(|| format!("route {} is too long", shown(&route))),
        // The first release of the template has none.
        None => name.as_ref().map(|name| format!("/{name}")),
        route => route,
    };
    let (created_at, updated_at) =
        (row.moment("created_at", found.created_at), row.moment("updated_at", found.updated_at));
    Some(Module {
        id: ModuleId(id?),
        name: name?,
        label: label?,
        icon: icon?,
        route: route?,
        priority: found.priority.unwrap_or_default(),
        is_active: found.is_active == Some(true),
        created_at: created_at?,
        updated_at: updated_at?,
    })
}

fn route(found: predecessor::Route, row: &mut Row<'_>) -> Option<Route> {
    let id = row.is(found.id);
    let path = row.required::<PathTemplate>("route", found.route);
    let label = row.required::<Label>("label", found.label);
    let icon = row.icon(found.icon);
    let module_id = found.module_id.or_else(|| row.refuse(|| "it is in no module".to_owned()));
    let (created_at, updated_at) =
        (row.moment("created_at", found.created_at), row.moment("updated_at", found.updated_at));
    Some(Route {
        id: RouteId(id?),
        route: path?,
        label: label?,
        icon: icon?,
        is_active: found.is_active == Some(true),
        is_sidebar: found.is_sidebar == Some(true),
        module_id: ModuleId(module_id?),
        parent_id: found.parent_id.map(RouteId),
        priority: found.priority.unwrap_or_default(),
        host: None,
        created_at: created_at?,
        updated_at: updated_at?,
    })
}

/// Rows that differed there and are the same by our rules.
fn refuse_namesakes<T: Kind>(rows: &[T], report: &mut Report) {
    let mut first: HashMap<(&'static str, String), &T> = HashMap::new();
    for row in rows {
        for (field, value) in row.keys() {
            if let Some(other) = first.get(&(field, value.clone())) {
                report.refused.add(|| format!("{} has the {field} {} of {}", title(row), shown(&value), title(*other)));
            } else {
                first.insert((field, value), row);
            }
        }
    }
}

/// The same routes, each after the one that it lies below; refuses those that lie below nothing.
fn from_the_root(routes: Vec<Route>, modules: &[Module], report: &mut Report) -> Vec<Route> {
    let modules: BTreeSet<ModuleId> = modules.iter().map(|module| module.id).collect();
    let homes: BTreeMap<RouteId, ModuleId> = routes.iter().map(|route| (route.id, route.module_id)).collect();
    let mut waiting: BTreeMap<RouteId, Vec<Route>> = BTreeMap::new();
    let mut sorted: Vec<Route> = Vec::with_capacity(routes.len());
    for route in routes {
        let fault = match route.parent_id.map(|parent| homes.get(&parent)) {
            _ if !modules.contains(&route.module_id) => {
                Some(format!("its module {} is not taken over", route.module_id))
            }
            Some(None) => Some("the route it lies below is not taken over".to_owned()),
            Some(Some(home)) if *home != route.module_id => {
                Some(format!("it lies below a route of module {home}, but in module {}", route.module_id))
            }
            _ => None,
        };
        match (fault, route.parent_id) {
            (Some(fault), _) => report.refused.add(|| format!("{}: {fault}", title(&route))),
            (None, None) => sorted.push(route),
            (None, Some(parent)) => waiting.entry(parent).or_default().push(route),
        }
    }
    let mut next = 0;
    while let Some(route) = sorted.get(next) {
        sorted.extend(waiting.remove(&route.id).unwrap_or_default());
        next += 1;
    }
    for route in waiting.into_values().flatten() {
        report.refused.add(|| format!("{}: it lies below itself, or below a route that is refused", title(&route)));
    }
    sorted
}
