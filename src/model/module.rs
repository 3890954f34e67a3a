use super::{Icon, Label, ModuleId, ModuleName, RoleId, Timestamp};

/// A module: one heading of the navigation tree, as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Module {
    /// Identity.
    pub id: ModuleId,
    /// Unique among undeleted modules; `Module::"<name>"` in Cedar.
    pub name: ModuleName,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// Where the front end shows it.
    pub route: String,
    /// Order, smallest first.
    pub priority: i64,
    /// Routes of an inactive module match nothing.
    pub is_active: bool,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change, if any.
    pub updated_at: Option<Timestamp>,
}

impl Module {
    /// Whether it is another to the gateway's rules than `other`: what only people see does not count.
    pub fn differs_in_rules(&self, other: &Self) -> bool {
        let rule = |module: &Self| (module.id, module.name.clone(), module.is_active);
        rule(self) != rule(other)
    }
}

/// A module to be stored.
#[derive(Clone, Debug)]
pub struct NewModule {
    /// Unique among undeleted modules.
    pub name: ModuleName,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// Where the front end shows it.
    pub route: String,
    /// Order, smallest first.
    pub priority: i64,
    /// Whether it is shown and its routes match.
    pub is_active: bool,
    /// Roles that see it.
    pub role_ids: Vec<RoleId>,
}

/// Changes to a module; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ModulePatch {
    /// New name.
    pub name: Option<ModuleName>,
    /// New label.
    pub label: Option<Label>,
    /// New icon; `Some(None)` clears it.
    pub icon: Option<Option<Icon>>,
    /// New front-end route.
    pub route: Option<String>,
    /// New order.
    pub priority: Option<i64>,
    /// Whether it is shown and its routes match.
    pub is_active: Option<bool>,
    /// Replaces the roles that see it.
    pub role_ids: Option<Vec<RoleId>>,
}
