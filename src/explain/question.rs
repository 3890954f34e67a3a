use std::net::IpAddr;
use std::sync::Arc;

use crate::http::{Target, host, is_method};
use crate::model::{Reason, Timestamp, rules::UserState};
use crate::policy::{Explanation, Inquiry, Snapshot, explain, refused};

use super::{Context, Url};

/// What a path without a host is asked of.
const DEFAULT_HOST: &str = "localhost";

/// A request that somebody might make.
#[derive(Clone, Debug)]
pub struct Question {
    method: String,
    host: String,
    target: String,
    context: Context,
}

/// What is wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Which part of it.
    pub part: Part,
    /// What is wrong, for whoever asked.
    pub message: String,
}

/// A part of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The method.
    Method,
    /// The path or address.
    Url,
    /// The context.
    Context,
}

impl Question {
    /// The question about `method`, in any case, on `url`.
    ///
    /// # Errors
    /// What is no method, a second host, or an address of neither form. What the gateway refuses is no error here: that
    /// is an answer.
    pub fn new(method: &str, url: &str, context: Context) -> Result<Self, Fault> {
        let fault = |part, message: &str| Fault { part, message: message.to_owned() };
        let method = method.to_ascii_uppercase();
        if !is_method(method.as_bytes()) {
            return Err(fault(Part::Method, "a method has 1 to 32 letters, - or _"));
        }
        let Url { host, target } = Url::try_from(url).map_err(|message| fault(Part::Url, message))?;
        if host.is_some() && context.host.is_some() {
            return Err(fault(Part::Context, "host: the address names one already"));
        }
        let host = host.or_else(|| context.host.clone()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
        Ok(Self { method, host, target, context })
    }

    /// What the gateway would answer to `user`, or to somebody without a token, who asks from `client` unless the context
    /// says otherwise.
    ///
    /// # Errors
    /// The context speaks of a token where there is none.
    pub fn ask(
        &self,
        snapshot: &Snapshot,
        user: Option<&Arc<UserState>>,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Explanation, Fault> {
        if user.is_none() && self.context.has_claims() {
            let message = "without a user there is no token that could have claims".to_owned();
            return Err(Fault { part: Part::Context, message });
        }
        // The gateway's own order.
        if matches!(self.method.as_str(), "CONNECT" | "TRACE") {
            return Ok(refused(snapshot, Reason::MethodNotAllowed));
        }
        let Ok(target) = Target::parse(self.target.as_bytes()) else {
            return Ok(refused(snapshot, Reason::BadTarget));
        };
        let Ok(host) = host::canonical(self.host.as_bytes()) else {
            return Ok(refused(snapshot, Reason::BadRequest));
        };
        let now = self.context.now.unwrap_or(now);
        let caller = user.map(|user| snapshot.assume(user, Arc::new(self.context.token(user)), now));
        let inquiry = Inquiry {
            caller: caller.as_ref(),
            refused: None,
            method: &self.method,
            host: &host,
            raw_path: target.raw_path(),
            path: target.decoded_path(),
            query: &|name| target.query_value(name),
            client_ip: self.context.client_ip.unwrap_or(client),
            now,
            client_certificate: self.context.client_certificate.as_ref(),
        };
        Ok(explain(snapshot, &inquiry))
    }
}
