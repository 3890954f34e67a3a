//! Modules and routes as they are answered: each shows the other, one level deep (the contract's depth rule).

mod menu;
mod module;
mod route;

pub(super) use menu::{FlatEntry, MenuEntry, MenuModule};
pub(super) use module::{ModuleItem, ModuleView};
pub(super) use route::{RouteItem, RouteView};
