//! What users did with their accounts.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::endpoints::Access::{Needs, SignedIn};
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, page};
use super::reply::{Answer, Reply};
use crate::control::Control;
use crate::model::{Timestamp, UserId};
use crate::store::{activity, activity::Activity, activity::Filter, users};

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

/// A part of a list, and in `X-Total-Count` the length of the whole.
struct Listed(i64, Vec<Activity>);

impl IntoResponse for Listed {
    fn into_response(self) -> Response {
        let total = [(HeaderName::from_static("x-total-count"), HeaderValue::from(self.0))];
        (total, Json(self.1)).into_response()
    }
}

impl Reply for Listed {
    const ANSWER: Answer = <Json<Vec<Activity>>>::ANSWER;
}

async fn own(State(state): State<Activities>, call: Call) -> Result<Listed, Error> {
    let (caller, input) = call.signed_in();
    let (page, filter) = input.read(wanted)?;
    state.list(caller.id(), page, &filter).await
}

async fn of_user(State(state): State<Activities>, call: Call) -> Result<Listed, Error> {
    let (_, input) = call.permit("user:read")?;
    let (id, (page, filter)) = input.read(wanted_of)?;
    state.list(id, page, &filter).await
}

impl Activities {
    async fn list(&self, user: UserId, page: Page, filter: &Filter) -> Result<Listed, Error> {
        let mut tx = self.control.read().await?;
        if users::existing(&mut tx, &[user]).await?.is_empty() {
            return Err(Error::NotFound("User not found".into()));
        }
        let total = activity::count(&mut tx, user, filter).await?;
        let activities = activity::list(&mut tx, user, filter, page.into()).await?;
        Ok(Listed(total, activities))
    }
}
