//! The mail server.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{Address, AsyncTransport, Message, Tokio1Executor};
use tokio::time::timeout;

use super::Error;
use super::render::Words;
use crate::model::{Email, Secret, Timestamp};

/// How the way to the mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Begins in clear, and goes on only under TLS (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all: for a server on this machine.
    None,
}

/// Which mail server, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// Its name, which its certificate must have.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is secured.
    pub security: Security,
    /// Name and password, if it wants them.
    pub credentials: Option<(String, Secret<String>)>,
    /// Certificates to trust, as PEM, in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// Longest time for one mail.
    pub timeout: Duration,
    /// The sender, as `Name <address>` or an address alone.
    pub from: String,
}

/// The mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

/// Why a mail was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may work later.
    Temporary(String),
    /// The server will not take it, now or ever.
    Permanent(String),
}

/// The server's own words may be long.
const MOST_TOLD: usize = 300;

impl Smtp {
    /// Prepares sending; nothing is connected yet.
    ///
    /// # Errors
    /// A sender that is no address, certificates that cannot be read, or no way secured to another machine.
    pub fn new(settings: &SmtpSettings) -> Result<Self, Error> {
        let wrong = |key: &str, error: &dyn std::fmt::Display| Error::Setting(format!("{key}: {error}"));
        let from: Mailbox = settings.from.parse().map_err(|error| wrong("mail.from", &error))?;
        if settings.security == Security::None && !is_loopback(&settings.host) {
            return Err(wrong("smtp.security", &"none is for a mail server on this machine only"));
        }
        let tls = |()| {
            let mut builder = TlsParameters::builder(settings.host.clone());
            if let Some(pem) = &settings.authorities {
                let certificate = Certificate::from_pem(pem).map_err(|error| wrong("smtp.ca_file", &error))?;
                builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
            }
            builder.build_rustls().map_err(|error| wrong("smtp.ca_file", &error))
        };
        let tls = match settings.security {
            Security::StartTls => Tls::Required(tls(())?),
            Security::Tls => Tls::Wrapper(tls(())?),
            Security::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(settings.timeout));
        if let Some((name, password)) = &settings.credentials {
            builder = builder.credentials(Credentials::new(name.clone(), password.expose().clone()));
        }
        Ok(Self { transport: builder.build(), from, timeout: settings.timeout })
    }

    /// Longest time for one mail.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a mail, the same in every attempt.
    pub(super) async fn send(
        &self,
        (to, message_id, at): (&Email, &str, Timestamp),
        words: Words,
    ) -> Result<(), Failure> {
        let message = self.message((to, message_id, at), words).map_err(Failure::Permanent)?;
        match timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_final(&error) => Err(Failure::Permanent(told(&error))),
            Ok(Err(error)) => Err(Failure::Temporary(told(&error))),
            Err(_) => Err(Failure::Temporary("the mail server took too long".to_owned())),
        }
    }

    fn message(&self, (to, message_id, at): (&Email, &str, Timestamp), words: Words) -> Result<Message, String> {
        let to = address(to)?;
        let seconds = u64::try_from(at.unix_seconds()).unwrap_or_default();
        Message::builder()
            .from(self.from.clone())
            // Without a name: those are for their owners to choose, and headers are ours.
            .to(Mailbox::new(None, to))
            .subject(words.subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(format!("<{message_id}@{}>", self.from.email.domain())))
            // No out-of-office answers, please (RFC 3834).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .multipart(MultiPart::alternative().singlepart(plain(&words.text)).singlepart(SinglePart::html(words.html)))
            .map_err(|error| error.to_string())
    }
}

/// As it is, where it can be: quoted-printable would break a link in two, which not everybody reads by a program.
fn plain(text: &str) -> SinglePart {
    /// RFC 5322 2.1.1, without the end of the line.
    const LONGEST_LINE: usize = 998;
    if !text.is_ascii() || text.contains('\r') || text.lines().any(|line| line.len() > LONGEST_LINE) {
        return SinglePart::plain(text.to_owned());
    }
    let lines = text.replace('\n', "\r\n").into_bytes();
    let body = Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit);
    SinglePart::builder().content_type(ContentType::TEXT_PLAIN).body(body)
}

/// Domains travel as ASCII, whatever they are shown as.
fn address(email: &Email) -> Result<Address, String> {
    let (local, domain) = email.as_str().rsplit_once('@').unwrap_or((email.as_str(), ""));
    let domain = idna::domain_to_ascii(domain).map_err(|error| error.to_string())?;
    Address::new(local, domain).map_err(|error| error.to_string())
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the server refuses this mail for good. Refusing us is a matter of settings, which somebody will mend.
fn is_final(error: &smtp::Error) -> bool {
    const ABOUT_US: [&str; 5] = ["502", "503", "530", "534", "535"];
    error.is_permanent() && !error.status().is_some_and(|code| ABOUT_US.contains(&code.to_string().as_str()))
}

/// The error with its causes, on one line, bounded.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str, from: &str, security: Security) -> SmtpSettings {
        SmtpSettings {
            host: host.to_owned(),
            port: 25,
            security,
            credentials: None,
            authorities: None,
            timeout: Duration::from_secs(1),
            from: from.to_owned(),
        }
    }

    #[test]
    fn nothing_leaves_this_machine_in_clear() {
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert!(Smtp::new(&settings(host, "a@example.com", Security::None)).is_ok(), "{host}");
        }
        for host in ["mail.example.com", "192.0.2.1", "127.0.0.1.example.com"] {
            let error = Smtp::new(&settings(host, "a@example.com", Security::None)).unwrap_err().to_string();
            assert!(error.contains("smtp.security"), "{error}");
        }
    }

    #[test]
    fn headers_are_ours() {
        let smtp = Smtp::new(&settings("localhost", "Gate <gate@example.com>", Security::None)).unwrap();
        let at = Timestamp::try_from("2026-11-22T15:02:48Z").unwrap();
        let words = |subject: &str| Words {
            subject: subject.to_owned(),
            text: "ä\r\n.\r\nBcc: b@example.com\r\n".to_owned(),
            html: "<p>ä</p>".to_owned(),
        };
        let to = Email::try_from("Ann@bücher.example").unwrap();
        let mail = smtp.message((&to, "id-1", at), words("Hello\r\nBcc: evil@example.com")).unwrap();
        let text = String::from_utf8(mail.formatted()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        for line in [
            "To: Ann@xn--bcher-kva.example",
            "Message-ID: <id-1@example.com>",
            "Auto-Submitted: auto-generated",
            "Date: Sun, 22 Nov 2026 15:02:48 +0000",
        ] {
            assert!(head.lines().any(|found| found == line), "{line}\n{head}");
        }
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
        assert_eq!(mail.envelope().to().len(), 1);
    }

    #[test]
    fn links_are_not_broken_in_two() {
        let link = format!("https://app.example.com/{}?token=abc", "x".repeat(200));
        let text = String::from_utf8(plain(&format!("Hello,\n\n{link}\n")).formatted()).unwrap();
        assert!(text.contains("Content-Transfer-Encoding: 7bit\r\n"), "{text}");
        assert!(text.contains(&format!("\r\n\r\nHello,\r\n\r\n{link}\r\n")), "{text}");
        for other in ["ä".to_owned(), "x".repeat(999)] {
            assert!(!String::from_utf8(plain(&other).formatted()).unwrap().contains("7bit"), "{other}");
        }
    }

    #[test]
    fn a_sender_that_is_none_is_refused() {
        for from in ["", "nobody", "a@b\r\nBcc: c@example.com"] {
            let error = Smtp::new(&settings("localhost", from, Security::None)).unwrap_err().to_string();
            assert!(error.starts_with("mail.from"), "{error}");
        }
    }
}
