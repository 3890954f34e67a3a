//! Making an account: one's own, or with the right to, anybody's.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::{FromRef, FromRequest, Request, State};
use axum::http::header;

use super::Auth;
use crate::admin::client::ClientAddress;
use crate::admin::error::Error;
use crate::admin::gate::{Call, Gate};
use crate::admin::input::Input;
use crate::admin::reply::Written;
use crate::admin::users::Account;
use crate::model::User;
use crate::store;
use crate::telemetry::logs::SECURITY;

/// Whoever presents a token is held to it, as everywhere.
pub(super) enum Visitor {
    Anonymous(Box<Input>),
    SignedIn(Box<Call>),
}

impl<S: Send + Sync> FromRequest<S> for Visitor
where
    Gate: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if request.headers().contains_key(header::AUTHORIZATION) {
            return Call::from_request(request, state).await.map(|call| Self::SignedIn(Box::new(call)));
        }
        Input::from_request(request, state).await.map(|input| Self::Anonymous(Box::new(input)))
    }
}

/// Without a token the same as [`sign_up`]; with one, what `POST /users/` does.
pub(super) async fn register(
    State(auth): State<Auth>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    visitor: Visitor,
) -> Result<Written<User>, Error> {
    match visitor {
        Visitor::Anonymous(input) => auth.sign_up(*input, client).await,
        Visitor::SignedIn(call) => {
            let (caller, input) = call.permit("user:create")?;
            let account = input.read(|input| Account::read(&mut input.body(), auth.policy))?;
            account.make((&auth.control, &auth.hasher, &auth.mail), Some(caller.origin()), taken).await
        }
    }
}

pub(super) async fn sign_up(
    State(auth): State<Auth>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    input: Input,
) -> Result<Written<User>, Error> {
    auth.sign_up(input, client).await
}

impl Auth {
    async fn sign_up(&self, input: Input, client: IpAddr) -> Result<Written<User>, Error> {
        if !self.registration {
            return Err(Error::Forbidden("User registration is disabled".into()));
        }
        let account = input.read(|input| Account::read_public(&mut input.body(), self.policy))?;
        // Before its password is hashed; what is mistyped does not count.
        if let Some(limits) = &self.limits {
            limits.registration(client).map_err(Error::TooManyRequests)?;
        }
        let made = account.make((&self.control, &self.hasher, &self.mail), None, taken).await?;
        tracing::info!(target: SECURITY, client = %client, user.id = %made.value.id, "signed up");
        Ok(made)
    }
}

/// The contract tells the two apart here, and only here.
fn taken(error: store::Error) -> Error {
    let is_email = matches!(&error, store::Error::Conflict { column } if column.as_deref() == Some("email"));
    Error::taken(error, if is_email { "Email already registered" } else { "Username already exists" })
}
