//! Whether a user may act, or exists at all.

use axum::extract::State;

use super::{Users, changed, existing, keeps_himself, taken};
use crate::admin::error::Error;
use crate::admin::gate::{Authorized, Call};
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::admin::reply::Written;
use crate::control::Write;
use crate::model::{User, UserId};
use crate::store::users;

pub(super) async fn toggle(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (write, caller, user) = of_path(&state, call).await?;
    let is_active = !user.is_active;
    switch(write, &caller, user, is_active).await
}

pub(super) async fn activate(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (write, caller, user) = of_path(&state, call).await?;
    switch(write, &caller, user, true).await
}

pub(super) async fn deactivate(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (write, caller, user) = of_path(&state, call).await?;
    switch(write, &caller, user, false).await
}

pub(super) fn wanted(input: &mut Input) -> Valid<(UserId, bool)> {
    let id = input.path::<UserId>("user_id");
    let is_active = input.body().required::<bool>("is_active");
    Some((id?, is_active?))
}

pub(super) async fn set(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, input) = call.permit("user:update")?;
    let (id, is_active) = input.read(wanted)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_user(&mut write, id).await?;
    let now = write.now();
    let user = existing(write.tx(), id, now).await?;
    switch(write, &caller, user, is_active).await
}

/// Brings a deleted user back; one that is not deleted stays as it is.
pub(super) async fn restore(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if users::restore(write.tx(), id, now).await.map_err(taken)? {
        return changed(write, id).await;
    }
    let user = existing(write.tx(), id, now).await?;
    Ok(write.commit(user).await?.into())
}

async fn of_path(state: &Users, call: Call) -> Result<(Write, Authorized, User), Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_user(&mut write, id).await?;
    let now = write.now();
    let user = existing(write.tx(), id, now).await?;
    Ok((write, caller, user))
}

/// Lets a user act or not; what is so already is not written again.
async fn switch(mut write: Write, caller: &Authorized, user: User, is_active: bool) -> Result<Written<User>, Error> {
    keeps_himself(caller, user.id, is_active)?;
    let now = write.now();
    if users::set_active(write.tx(), &[user.id], is_active, now).await?.is_empty() {
        return Ok(write.commit(user).await?.into());
    }
    changed(write, user.id).await
}
