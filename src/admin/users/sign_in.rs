//! What administrators do about how others sign in.

use axum::extract::State;
use serde_json::json;

use super::{Users, existing};
use crate::admin::error::Error;
use crate::admin::gate::{Authorized, Call};
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::control::Write;
use crate::model::{User, UserId};
use crate::store::{changes::Change, users};
use crate::telemetry::logs::SECURITY;

/// Has failed sign-ins forgotten, on every node: each looks at the user's row before it counts.
pub(super) async fn unlock(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, caller, user) = of_path(&state, call).await?;
    let now = write.now();
    users::unlock(write.tx(), user.id, now).await?;
    write.leaves(record::USER, user.id.0, &json!({ "id": user.id, "locked_until": user.locked_until }));
    write.becomes(record::USER, user.id.0, &json!({ "id": user.id, "locked_until": null, "unlocked_at": now }));
    // Nothing of the snapshot changes, but who may do this to whom is asked as for any change of the user.
    write.touch(Change::User(user.id));
    tracing::info!(target: SECURITY, { user.id = %user.id, by = %caller.id() }, "account unlocked");
    Ok(write.commit(Message::new("User unlocked successfully")).await?.into())
}

/// Voids every token of a user.
pub(super) async fn logout_all(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, caller, user) = of_path(&state, call).await?;
    let now = write.now();
    users::sign_out(write.tx(), user.id, now).await?;
    write.leaves(record::USER, user.id.0, &json!({ "id": user.id }));
    write.becomes(record::USER, user.id.0, &json!({ "id": user.id, "signed_out_at": now }));
    write.touch(Change::User(user.id));
    tracing::info!(target: SECURITY, { user.id = %user.id, by = %caller.id() }, "user signed out everywhere");
    Ok(write.commit(Message::new("User signed out everywhere")).await?.into())
}

async fn of_path(state: &Users, call: Call) -> Result<(Write, Authorized, User), Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let user = existing(write.tx(), id, now).await?;
    Ok((write, caller, user))
}
