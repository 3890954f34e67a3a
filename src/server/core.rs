//! Settings and parts to what the two services take.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use super::counted::Counted;
use super::edge;
use super::open::password_policy;
use crate::admin::{self, About, Gate};
use crate::config::{EmailVerification, Environment, Settings};
use crate::control::Control;
use crate::gateway;
use crate::http::{self, Cors, Lifecycle, SecurityHeaders, TrustedProxies};
use crate::jwt::{Errands, Minter, Verifier};
use crate::mail::Outbox;
use crate::model::Secret;
use crate::password::Hasher;
use crate::policy::Decided;
use crate::telemetry::{AccessLog, Logs, Metrics, Recent};

/// What both services are made of.
#[derive(Debug)]
pub(super) struct Core {
    /// In force.
    pub(super) settings: Settings,
    pub(super) control: Control,
    pub(super) hasher: Hasher,
    pub(super) verifier: Verifier,
    pub(super) outbox: Outbox,
    pub(super) errands: Errands,
    pub(super) metrics: Arc<Metrics>,
    pub(super) lifecycle: Lifecycle,
    pub(super) logs: Logs,
    pub(super) recent: Recent<http::RequestId, Decided>,
    pub(super) counted: Counted,
    /// What only the gateway of this process knows.
    pub(super) mount_secret: Secret<String>,
}

impl Core {
    /// What the admin service takes.
    pub(super) fn admin(&self) -> admin::Parts {
        let settings = &self.settings;
        let auth = &settings.auth;
        admin::Parts {
            gate: Gate {
                snapshots: self.control.snapshots().clone(),
                verifier: self.verifier.clone(),
                errands: self.errands.clone(),
                recent: self.recent.clone(),
                forbid_anonymous: settings.admin.missing_credentials_status == ::http::StatusCode::FORBIDDEN,
            },
            control: self.control.clone(),
            minter: Minter::new(&self.verifier, auth.access_token, settings.sessions.idle),
            hasher: self.hasher.clone(),
            password_policy: password_policy(settings),
            user_registration: auth.user_registration,
            mail: admin::Mail {
                outbox: self.outbox.clone(),
                asks: auth.email_verification != EmailVerification::Off,
                requires: auth.email_verification == EmailVerification::Required,
            },
            sessions: admin::Sessions {
                most: settings.sessions.max_per_user,
                longest: settings.sessions.longest,
                grace: settings.sessions.refresh_grace,
            },
            failures: self.counted.failures.clone(),
            rate_limits: self.counted.admin.clone(),
            browsers: admin::Browsers { cors: Arc::new(self.cors()), security: self.security_headers() },
            config: Arc::new(settings.shown()),
            metrics: Arc::clone(&self.metrics),
            shows_metrics: settings.metrics.enabled && settings.metrics.listen.is_none(),
            about: About {
                environment: match settings.app.environment {
                    Environment::Production => "production",
                    Environment::Development => "development",
                },
                debug: settings.app.debug,
                name: settings.app.name.clone(),
                version: settings.app.version.clone(),
            },
            lifecycle: self.lifecycle.clone(),
            logs: self.logs.clone(),
            docs: settings.docs.enabled,
            places: admin::Places { policies: settings.policy.dir.clone(), data: settings.data_dir.clone() },
            upstream_certificates: settings.gateway.upstream_certificates.iter().map(|of| of.name.clone()).collect(),
            mount_secret: self.mount_secret.clone(),
            proxies: self.proxies(),
            limits: admin::Limits {
                max_body_bytes: settings.admin.max_body_bytes,
                timeout: settings.admin.request_timeout,
            },
        }
    }

    /// How the gateway is set up, with the admin service at `admin` mounted if the settings say so.
    pub(super) fn gateway_settings(
        &self,
        listener: TcpListener,
        redirect: Option<TcpListener>,
        admin: SocketAddr,
    ) -> anyhow::Result<gateway::Settings> {
        let own = &self.settings.gateway;
        let port = match own.redirect.and_then(|redirect| redirect.port) {
            Some(port) => port,
            None => listener.local_addr()?.port(),
        };
        Ok(gateway::Settings {
            listener,
            tls: own.tls.as_ref().map(edge::tls),
            redirect: redirect.map(|listener| gateway::Redirect { listener, port }),
            mount: own.mount.then(|| gateway::Mount { address: reachable(admin), secret: self.mount_secret.clone() }),
            workers: own.workers,
            upstream_certificates: edge::upstream_certificates(own),
            dns_servers: own.dns_servers.clone(),
            terms: self.terms(),
        })
    }

    /// On which terms requests are served.
    pub(super) fn terms(&self) -> gateway::Terms {
        let own = &self.settings.gateway;
        gateway::Terms {
            limits: edge::limits(own),
            cors: self.cors(),
            security_headers: self.security_headers(),
            rates: self.counted.gateway.clone(),
            proxies: self.proxies(),
            proxy_protocol: own.proxy_protocol,
        }
    }

    fn proxies(&self) -> TrustedProxies {
        let gateway = &self.settings.gateway;
        TrustedProxies::new(gateway.trusted_proxies.clone(), gateway.forwarded_header)
    }

    fn cors(&self) -> Cors {
        let cors = &self.settings.cors;
        Cors {
            origins: cors.allowed_origins.clone(),
            methods: cors.allowed_methods.clone(),
            headers: cors.allowed_headers.clone(),
            credentials: cors.allow_credentials,
            max_age_seconds: u32::try_from(cors.max_age.as_secs()).unwrap_or(u32::MAX),
        }
    }

    fn security_headers(&self) -> Option<SecurityHeaders> {
        let settings = self.settings.security_headers;
        settings.enabled.then(|| SecurityHeaders::new(settings.hsts_max_age))
    }

    /// What the gateway takes.
    pub(super) fn gateway(&self, access_log: AccessLog) -> gateway::Parts {
        gateway::Parts {
            snapshots: self.control.snapshots().clone(),
            verifier: self.verifier.clone(),
            errands: self.errands.clone(),
            metrics: Arc::clone(&self.metrics),
            access_log,
            recent: self.recent.clone(),
        }
    }
}

/// Where this process reaches its own listener: an unspecified address is not one to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}
