//! What each kind of entity is on record with: the same that a GET of it answers with, so that its tag is the one clients
//! have seen.

use serde_json::json;

use super::error::Error;
use super::issuers;
use super::views::{ModuleView, RouteView};
use crate::control::Write;
use crate::model::{IssuerId, ModuleId, PermissionId, PolicyId, RoleId, RouteId, UpstreamId, UserId};
use crate::store::{Tx, permissions, policies, roles, upstreams, users};

/// The kinds of entities.
pub(super) const USER: &str = "user";
pub(super) const ROLE: &str = "role";
pub(super) const PERMISSION: &str = "permission";
pub(super) const MODULE: &str = "module";
pub(super) const ROUTE: &str = "route";
pub(super) const UPSTREAM: &str = "upstream";
pub(super) const POLICY: &str = "policy";
pub(super) const SESSION: &str = "session";
pub(super) const ISSUER: &str = "issuer";

/// For each kind: what it is before a change, which is refused if the client saw something else, and what it is after.
macro_rules! recorded {
    ($($before:ident $after:ident $kind:ident $id:ty: |$tx:ident, $key:ident, $now:ident| $load:expr;)*) => {$(
        pub(super) async fn $before(write: &mut Write, $key: $id) -> Result<(), Error> {
            let $now = write.now();
            let $tx: &mut Tx = write.tx();
            // What is not there is answered with 404 by whoever looks for it.
            if let Some(entity) = $load {
                write.replaces($kind, $key.0, &entity)?;
            }
            Ok(())
        }

        pub(super) async fn $after(write: &mut Write, $key: $id) -> Result<(), Error> {
            let $now = write.now();
            let $tx: &mut Tx = write.tx();
            if let Some(entity) = $load {
                write.becomes($kind, $key.0, &entity);
            }
            Ok(())
        }
    )*};
}

recorded! {
    before_user after_user USER UserId: |tx, id, now| users::get(tx, id, now).await?;
    before_role after_role ROLE RoleId: |tx, id, _now| roles::get(tx, id).await?;
    before_permission after_permission PERMISSION PermissionId: |tx, id, _now| permissions::get(tx, id).await?;
    before_route after_route ROUTE RouteId: |tx, id, _now| RouteView::load(tx, id).await?;
    before_policy after_policy POLICY PolicyId: |tx, id, _now| policies::get(tx, id).await?;
    before_issuer after_issuer ISSUER IssuerId: |tx, id, _now| issuers::View::load(tx, id).await?;
    before_upstream after_upstream UPSTREAM UpstreamId: |tx, id, _now| upstreams::get(tx, id).await?;
}

/// A module goes on record without its routes, of which there may be thousands: none of them changes with it.
pub(super) async fn before_module(write: &mut Write, id: ModuleId) -> Result<(), Error> {
    if write.is_conditional()
        && let Some(view) = ModuleView::load(write.tx(), id).await?
    {
        write.expects(&view)?;
    }
    if let Some(module) = ModuleView::bare(write.tx(), id).await? {
        write.leaves(MODULE, id.0, &module.without_routes());
    }
    Ok(())
}

pub(super) async fn after_module(write: &mut Write, id: ModuleId) -> Result<(), Error> {
    if let Some(module) = ModuleView::bare(write.tx(), id).await? {
        write.becomes(MODULE, id.0, &module.without_routes());
    }
    Ok(())
}

/// Many at once: that they are gone, or what was set.
///
/// # Errors
/// The client asked for one state of one entity, which many have not.
pub(super) fn many(
    write: &mut Write,
    kind: &'static str,
    ids: impl IntoIterator<Item = i64>,
    set: Option<&(&str, serde_json::Value)>,
) -> Result<(), Error> {
    for id in ids {
        write.replaces(kind, id, &json!({ "id": id }))?;
        match set {
            Some((name, value)) => write.becomes(kind, id, &json!({ "id": id, *name: value })),
            None => write.gone(kind, id),
        }
    }
    Ok(())
}
