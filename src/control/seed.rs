//! The rows that every installation has.

use super::{Control, Error};
use crate::{
    model::{
        Category, Email, HeaderRules, Icon, Label, ModuleId, ModuleName, NewModule, NewPermission, NewRole, NewRoute,
        NewUser, PathTemplate, PermissionId, PermissionName, RoleId, RoleName, RouteId, SUPER_ROLE, Secret, Timestamp,
        Username,
    },
    store::{Page, Tx, changes::Change, modules, permissions, roles, routes, users},
};

/// Resources whose four CRUD permissions every installation has, in the order of the predecessor's ids.
const RESOURCES: [&str; 6] = ["user", "role", "permission", "module", "route", "upstream"];
const VERBS: [(&str, &str); 4] = [("read", "Read"), ("create", "Create"), ("update", "Update"), ("delete", "Delete")];
/// Permissions beyond those: name, description and category.
const OTHERS: [(&str, &str, &str); 15] = [
    ("system:read", "Read the state of the running process", "system"),
    ("system:manage", "Change the running process", "system"),
    ("role:escalate", "Give others what one does not hold oneself", "role"),
    ("audit:read", "Read who changed what", "audit"),
    ("policy:read", "Read policies, and why requests are allowed or denied", "policy"),
    ("policy:create", "Create policy resources", "policy"),
    ("policy:update", "Update policy resources", "policy"),
    ("policy:delete", "Delete policy resources", "policy"),
    ("key:read", "Read which keys sign tokens", "key"),
    ("key:create", "Rotate the keys that sign tokens", "key"),
    ("key:delete", "Retire keys, which ends the tokens they have signed", "key"),
    ("issuer:read", "Read which issuers are trusted", "issuer"),
    ("issuer:create", "Create issuer resources", "issuer"),
    ("issuer:update", "Update issuer resources", "issuer"),
    ("issuer:delete", "Delete issuer resources", "issuer"),
];

/// Name, description and category of every permission that the admin API asks for.
fn system_permissions() -> impl Iterator<Item = (String, String, &'static str)> {
    let crud = RESOURCES.iter().flat_map(|resource| {
        VERBS.iter().map(move |(verb, title)| {
            (format!("{resource}:{verb}"), format!("{title} {resource} resources"), *resource)
        })
    });
    crud.chain(
        OTHERS.iter().map(|(name, description, category)| ((*name).to_owned(), (*description).to_owned(), *category)),
    )
}

/// Whether the admin API itself depends on this permission.
pub fn is_system_permission(name: &PermissionName) -> bool {
    system_permissions().any(|(system, _, _)| system == name.as_str())
}

/// A system role, and the pattern for further roles like it.
#[derive(Clone, Copy, Debug)]
pub struct RoleTemplate {
    /// What clients call the pattern.
    pub title: &'static str,
    /// The system role's name.
    pub name: &'static str,
    /// For people.
    pub description: &'static str,
    holds: Holds,
}

/// The system roles.
pub const ROLE_TEMPLATES: [RoleTemplate; 4] = [
    RoleTemplate {
        title: "SuperAdmin",
        name: SUPER_ROLE,
        description: "Super Administrator with all permissions",
        holds: Holds::All,
    },
    RoleTemplate {
        title: "Admin",
        name: "admin",
        description: "Administrator with all user permissions",
        holds: Holds::Resource("user"),
    },
    RoleTemplate {
        title: "User",
        name: "user",
        description: "Basic user with read-only access",
        holds: Holds::One("user:read"),
    },
    RoleTemplate { title: "Guest", name: "guest", description: "Guest without permissions", holds: Holds::Nothing },
];

#[derive(Clone, Copy, Debug)]
enum Holds {
    All,
    Resource(&'static str),
    One(&'static str),
    Nothing,
}

impl RoleTemplate {
    /// The pattern that clients call so: by title or name, in any case, `super_admin` too.
    pub fn find(name: &str) -> Option<Self> {
        let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
        ROLE_TEMPLATES.into_iter().find(|template| plain(template.title) == plain(name))
    }

    /// Whether such a role holds this permission.
    pub fn holds(&self, permission: &PermissionName) -> bool {
        match self.holds {
            Holds::All => true,
            Holds::Resource(resource) => permission.as_str().split_once(':').is_some_and(|(of, _)| of == resource),
            Holds::One(one) => permission.as_str() == one,
            Holds::Nothing => false,
        }
    }
}

/// An account to be made at the first start.
#[derive(Debug)]
pub struct NewAccount {
    /// Sign-in name.
    pub username: Username,
    /// Mail address.
    pub email: Email,
    /// PHC string of its password.
    pub password_hash: Secret<String>,
    /// Its role.
    pub role: &'static str,
}

/// What seeding found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// Whether the database was empty before.
    pub first_start: bool,
    /// How many accounts were made.
    pub accounts: usize,
}

impl Control {
    /// Whether nobody could administer this installation: it is new, or only the command line was used so far.
    ///
    /// # Errors
    /// The database is away.
    pub async fn lacks_administrator(&self) -> Result<bool, Error> {
        let mut tx = self.read().await?;
        match roles::find(&mut tx, SUPER_ROLE).await? {
            Some(role) => Ok(roles::assigned(&mut tx, &[role], Timestamp::now()).await?.is_empty()),
            None => Ok(true),
        }
    }
}

/// Makes sure that the system's permissions and roles are there, at the first start the navigation tree too, and
/// those of `accounts` whose names are free. Rows that exist are left as they are; missing grants of system roles
/// are added.
///
/// # Errors
/// The database is away, or an account is not acceptable.
pub async fn seed(control: &Control, accounts: Vec<NewAccount>) -> Result<Seeded, Error> {
    let mut write = control.write().await?;
    let now = write.now();
    let first_start = roles::find(write.tx(), SUPER_ROLE).await?.is_none();
    let mut changed = seed_permissions(write.tx(), now).await?;
    changed |= seed_roles(write.tx(), now).await?;
    let mut made = 0;
    for account in accounts {
        if users::credentials(write.tx(), account.username.as_str()).await?.is_none() {
            let role = roles::find(write.tx(), account.role).await?;
            let user = NewUser {
                username: account.username,
                email: account.email,
                password_hash: account.password_hash,
                is_active: true,
                role_ids: role.into_iter().collect(),
                granted_by: None,
            };
            let id = users::insert(write.tx(), &user, now).await?;
            users::honour_old_tokens(write.tx(), id).await?;
            // Nobody could answer a mail to a made-up address, and the first administrator must get in.
            users::verify_email(write.tx(), id).await?;
            write.touch(Change::User(id));
            made += 1;
        }
    }
    if first_start {
        seed_navigation(write.tx(), now).await?;
    }
    if changed {
        write.touch(Change::Rules);
    }
    write.commit(Seeded { first_start, accounts: made }).await.map(|written| written.value)
}

async fn seed_permissions(tx: &mut Tx, now: Timestamp) -> Result<bool, Error> {
    let mut changed = false;
    let known = permissions::list(tx, &permissions::Filter::default(), Page::ALL).await?;
    for (name, description, category) in system_permissions() {
        if !known.iter().any(|permission| permission.name.as_str() == name) {
            ensure_permission(tx, &name, &description, category, now).await?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The permission of this name, and whether it had to be made.
pub(super) async fn ensure_permission(
    tx: &mut Tx,
    name: &str,
    description: &str,
    category: &str,
    now: Timestamp,
) -> Result<(PermissionId, bool), Error> {
    if let Some(id) = permissions::find(tx, name).await? {
        return Ok((id, false));
    }
    let new = NewPermission {
        name: PermissionName::try_from(name).expect("a seeded name is valid"),
        description: Some(description.to_owned()),
        category: Category::try_from(category).ok(),
    };
    Ok((permissions::insert(tx, &new, now).await?, true))
}

async fn seed_roles(tx: &mut Tx, now: Timestamp) -> Result<bool, Error> {
    let mut changed = false;
    for RoleTemplate { name, description, .. } in ROLE_TEMPLATES {
        if roles::find(tx, name).await?.is_none() {
            let name = RoleName::try_from(name).expect("a seeded name is valid");
            let new = NewRole { name, description: Some(description.to_owned()), permission_ids: Vec::new() };
            let id = roles::insert(tx, &new, now).await?;
            roles::protect(tx, id).await?;
            changed = true;
        }
    }
    Ok(changed | grant_missing(tx, now).await?)
}

/// Grants what system roles should hold and do not.
async fn grant_missing(tx: &mut Tx, now: Timestamp) -> Result<bool, Error> {
    let mut changed = false;
    let permissions = permissions::list(tx, &permissions::Filter::default(), Page::ALL).await?;
    let roles = roles::list(tx, &roles::Filter::default(), Page::ALL).await?;
    for template in ROLE_TEMPLATES {
        let Some(role) = roles.iter().find(|role| role.name.as_str() == template.name) else { continue };
        let held = |id: PermissionId| role.permissions.iter().any(|permission| permission.id == id);
        let due = permissions.iter().filter(|permission| is_system_permission(&permission.name));
        for permission in due.filter(|permission| template.holds(&permission.name) && !held(permission.id)) {
            changed |= roles::grant(tx, role.id, permission.id, now).await?;
        }
    }
    Ok(changed)
}

/// A navigation route: path below the base, label, icon, priority, and its parent's place in the list.
type Navigation = (&'static str, &'static str, &'static str, i64, Option<usize>);

const NAVIGATION_BASE: &str = "/infinity/administration";
const NAVIGATION: [Navigation; 7] = [
    ("/accessControls", "Access Control", "GlobeLock", 0, None),
    ("/users", "Users", "UsersRound", 0, Some(0)),
    ("/roles", "Roles", "Cable", 1, Some(0)),
    ("/permissions", "Permissions", "FolderLock", 2, Some(0)),
    ("/pages", "Pages", "Layers", 1, None),
    ("/modules", "Modules", "Boxes", 0, Some(4)),
    ("/routes", "Routes", "GitFork", 1, Some(4)),
];

/// The navigation tree that the predecessor's front end has built in.
async fn seed_navigation(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    let mut all_roles = Vec::new();
    for template in ROLE_TEMPLATES {
        all_roles.extend(roles::find(tx, template.name).await?);
    }
    let superadmin: Vec<RoleId> = all_roles.first().copied().into_iter().collect();
    module(tx, ("dashboard", "Dashboard", "LayoutDashboard", "/infinity/dashboard", 0), all_roles, now).await?;
    let heading = ("administration", "Administration", "ShieldUser", NAVIGATION_BASE, 1);
    let module_id = module(tx, heading, superadmin.clone(), now).await?;
    let mut ids: Vec<RouteId> = Vec::new();
    for (path, label, icon, priority, parent) in NAVIGATION {
        let route = NewRoute {
            route: PathTemplate::try_from(format!("{NAVIGATION_BASE}{path}")).expect("a seeded path is valid"),
            label: Label::try_from(label).expect("a seeded label is valid"),
            icon: Icon::try_from(icon).ok(),
            is_active: true,
            is_sidebar: true,
            module_id,
            parent_id: parent.and_then(|place| ids.get(place).copied()),
            priority,
            role_ids: superadmin.clone(),
            host: None,
            upstream: None,
            strip_prefix: None,
            forward_authorization: true,
            rate_limit: None,
            max_body_bytes: None,
            headers: HeaderRules::default(),
            operations: Vec::new(),
        };
        ids.push(routes::insert(tx, &route, now).await?);
    }
    Ok(())
}

/// Name, label, icon, front-end route and priority of a module.
type Heading<'a> = (&'a str, &'a str, &'a str, &'a str, i64);

pub(super) async fn module(
    tx: &mut Tx,
    (name, label, icon, route, priority): Heading<'_>,
    role_ids: Vec<RoleId>,
    now: Timestamp,
) -> Result<ModuleId, Error> {
    let new = NewModule {
        name: ModuleName::try_from(name).expect("a seeded name is valid"),
        label: Label::try_from(label).expect("a seeded label is valid"),
        icon: Icon::try_from(icon).ok(),
        route: route.to_owned(),
        priority,
        is_active: true,
        role_ids,
    };
    Ok(modules::insert(tx, &new, now).await?)
}
