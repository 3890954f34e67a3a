//! What users did with their accounts.

use axum::extract::{FromRef, State};

use super::endpoints::Access::{Needs, SignedIn};
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, page};
use super::reply::Listed;
use crate::control::Control;
use crate::model::{Timestamp, UserId};
use crate::store::{Total, activity, activity::Activity, activity::Filter, users};

/// Longer than any action.
const LONGEST: usize = 100;

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Activities {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Activities> {
    Endpoints::new("Users")
        .get("/users/me/activity", SignedIn, "List what one did with one's account", own)
        .reads(wanted)
        .get("/users/{user_id}/activity", Needs("user:read"), "List what a user did with the account", of_user)
        .reads(wanted_of)
}

fn wanted(input: &mut Input) -> Valid<(Page, Filter)> {
    let page = page(input, Limits::Lenient);
    let action = input.query::<String>("action").max_length(LONGEST).optional();
    let from = input.query::<Timestamp>("from").unless_absent();
    let to = input.query::<Timestamp>("to").unless_absent();
    let action = action?.filter(|action| !action.is_empty());
    Some((page?, Filter { action, from: from?, to: to? }))
}

fn wanted_of(input: &mut Input) -> Valid<(UserId, (Page, Filter))> {
    let (id, wanted) = (input.path::<UserId>("user_id"), wanted(input));
    Some((id?, wanted?))
}

async fn own(State(state): State<Activities>, call: Call) -> Result<Listed<Activity>, Error> {
    let (caller, input) = call.signed_in();
    let (page, filter) = input.read(wanted)?;
    state.list(caller.id(), page, &filter).await
}

async fn of_user(State(state): State<Activities>, call: Call) -> Result<Listed<Activity>, Error> {
    let (_, input) = call.permit("user:read")?;
    let (id, (page, filter)) = input.read(wanted_of)?;
    state.list(id, page, &filter).await
}

impl Activities {
    async fn list(&self, user: UserId, page: Page, filter: &Filter) -> Result<Listed<Activity>, Error> {
        let mut tx = self.control.read().await?;
        if users::existing(&mut tx, &[user]).await?.is_empty() {
            return Err(Error::NotFound("User not found".into()));
        }
        let count = activity::count(&mut tx, user, filter).await?;
        let rows = activity::list(&mut tx, user, filter, page.into()).await?;
        Ok(Listed { rows, total: Total { count, is_capped: false } })
    }
}
