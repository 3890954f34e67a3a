use serde::Serialize;

use crate::model::{Icon, Label, Module, ModuleId, ModuleName, PathTemplate, RouteId};
use crate::store::navigation::Entry;

/// A module in the sidebar; its routes stand below it.
#[derive(Debug, Serialize)]
pub(crate) struct MenuModule<'a> {
    id: ModuleId,
    name: &'a ModuleName,
    label: &'a Label,
    icon: &'a str,
    route: &'a str,
    priority: i64,
    is_active: bool,
}

impl<'a> From<&'a Module> for MenuModule<'a> {
    fn from(module: &'a Module) -> Self {
        let Module { id, name, label, icon, route, priority, is_active, created_at: _, updated_at: _ } = module;
        Self { id: *id, name, label, icon: or_blank(icon.as_ref()), route, priority: *priority, is_active: *is_active }
    }
}

/// A route in the sidebar; its children stand below it.
#[derive(Debug, Serialize)]
pub(crate) struct MenuEntry<'a> {
    id: RouteId,
    route: &'a PathTemplate,
    label: &'a Label,
    icon: &'a str,
    module_name: &'a ModuleName,
    priority: i64,
}

impl<'a> From<&'a Entry> for MenuEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        let Entry { id, route, label, icon, module_id: _, module_name, parent_id: _, priority } = entry;
        Self { id: *id, route, label, icon: or_blank(icon.as_ref()), module_name, priority: *priority }
    }
}

/// A route in the sidebar of the predecessor's first release.
#[derive(Debug, Serialize)]
pub(crate) struct FlatEntry<'a> {
    id: RouteId,
    route: &'a PathTemplate,
    label: &'a Label,
    icon: Option<&'a Icon>,
    module_name: &'a ModuleName,
}

impl<'a> From<&'a Entry> for FlatEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        let Entry { id, route, label, icon, module_id: _, module_name, parent_id: _, priority: _ } = entry;
        Self { id: *id, route, label, icon: icon.as_ref(), module_name }
    }
}

/// Front ends read a text where there is no icon.
fn or_blank(icon: Option<&Icon>) -> &str {
    icon.map_or("", Icon::as_str)
}
