//! Mail, against a mail server of others.

mod bounds;
mod passwords;
mod sending;
mod sign_in;
mod verification;

use serde_json::{Value, json};

use crate::support::Backend;
use crate::support::app::{Answer, App};
use crate::support::mailbox::{MailServer, Way};

const VERIFY: &str = "https://app.example.com/x/verify-email";
const RESET: &str = "https://app.example.com/x/reset-password";
const PASSWORD: &str = "Long-enough-2026";

/// A server whose mail goes to a mail server of its own.
async fn started(backend: Backend, extra: &[(&str, &str)]) -> (App, MailServer) {
    started_by(Way::StartTls, backend, extra).await
}

async fn started_by(way: Way, backend: Backend, extra: &[(&str, &str)]) -> (App, MailServer) {
    let mails = MailServer::start(way);
    let app = app(&mails.settings(), backend, extra).await;
    (app, mails)
}

async fn app(settings: &[(&'static str, String)], backend: Backend, extra: &[(&str, &str)]) -> App {
    let all: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).chain(extra.iter().copied()).collect();
    App::start_with(backend, &all).await
}

impl App {
    async fn sign_up(&self, name: &str) -> Answer {
        let body = json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD });
        self.admin("POST", "/auth/register").json(body).await
    }

    async fn forgot(&self, email: &str) -> Answer {
        self.admin("POST", "/auth/forgot-password").json(json!({ "email": email })).await
    }

    async fn reset(&self, token: &str, password: &str) -> Answer {
        let body = json!({ "token": token, "new_password": password });
        self.admin("POST", "/auth/reset-password").json(body).await
    }

    async fn verify(&self, token: &str) -> Answer {
        self.admin("POST", "/auth/verify-email").json(json!({ "token": token })).await
    }

    /// The value of a metric with its labels, as it is written.
    async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.internal("GET", "/metrics").await.expect(200).text;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Waits until a metric has this value.
    async fn metric_becomes(&self, name: &str, value: f64) {
        for _ in 0..400 {
            if self.metric(name).await == Some(value) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{name} is {:?}", self.metric(name).await);
    }
}

fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().map_or_else(|| answer.text.clone(), str::to_owned)
}

fn message(answer: &Answer) -> Value {
    answer.json()["message"].clone()
}
