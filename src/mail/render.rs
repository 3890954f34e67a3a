//! Letters to texts.

use std::sync::LazyLock;
use std::time::Duration;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::agent::describe;
use super::letter::{Letter, Scene};
use crate::model::{Secret, Timestamp};

/// Where links lead: to the pages of whoever serves them, with the token as `?token=`.
#[derive(Clone, Debug)]
pub struct Links {
    /// Scheme, host and perhaps a path; no slash at its end.
    pub base: String,
    /// The page that verifies an address.
    pub verify: String,
    /// The page that asks for a new password.
    pub reset: String,
}

/// A mail's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// A link with a token in it, and how long it is good.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) address: Secret<String>,
    pub(super) life: Duration,
}

macro_rules! templates {
    ($($kind:literal)*) => {
        &[
            ("layout.html", include_str!("templates/layout.html")),
            $(
                (concat!($kind, ".txt"), include_str!(concat!("templates/", $kind, ".txt"))),
                (concat!($kind, ".html"), include_str!(concat!("templates/", $kind, ".html"))),
            )*
        ]
    };
}

const TEMPLATES: &[(&str, &str)] = templates! {
    "verification" "reset" "new_sign_in" "lockout" "sessions_ended" "password_changed" "address_changed"
};

static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| match name.strip_suffix(".html") {
        Some(_) => AutoEscape::Html,
        None => AutoEscape::None,
    });
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
});

fn subject(letter: &Letter) -> &'static str {
    match letter {
        Letter::Verification { .. } => "Confirm your mail address",
        Letter::Reset { .. } => "Reset your password",
        Letter::NewSignIn { .. } => "New sign-in to your account",
        Letter::Lockout { .. } => "Sign-in to your account is held up",
        Letter::SessionsEnded { .. } => "You were signed out for your safety",
        Letter::PasswordChanged { .. } => "Your password was changed",
        Letter::AddressChanged { .. } => "Your mail address was changed",
    }
}

/// Writes a letter to `username`, with a `link` if it is about one.
///
/// # Errors
/// A template names what is not there, which the tests rule out.
pub(super) fn words(
    service: &str,
    letter: &Letter,
    username: &str,
    link: Option<&Link>,
) -> Result<Words, minijinja::Error> {
    let environment = ENVIRONMENT.as_ref().map_err(|error| minijinja::Error::new(error.kind(), error.to_string()))?;
    let context = context! {
        service => service,
        username => username,
        link => link.map(|link| link.address.expose()),
        life => link.map(|link| span(link.life)),
        ..scene(letter)
    };
    let render = |suffix: &str| {
        let name = format!("{}.{suffix}", letter.kind());
        environment.get_template(&name)?.render(&context)
    };
    Ok(Words { subject: format!("{} - {service}", subject(letter)), text: render("txt")?, html: render("html")? })
}

fn scene(letter: &Letter) -> minijinja::Value {
    match letter {
        Letter::Verification { .. } | Letter::Reset { .. } => context! {},
        Letter::NewSignIn { scene, .. }
        | Letter::Lockout { scene, .. }
        | Letter::SessionsEnded { scene, .. }
        | Letter::PasswordChanged { scene, .. }
        | Letter::AddressChanged { scene, .. } => {
            let Scene { at, client, user_agent } = scene;
            context! { at => minute(*at), client => client.to_string(), agent => describe(user_agent.as_deref()) }
        }
    }
}

/// `2026-11-22 15:02 UTC`.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
}

/// In the largest unit that it is a whole number of.
fn span(life: Duration) -> String {
    let minutes = life.as_secs() / 60;
    let (count, unit) =
        if minutes >= 60 && minutes.is_multiple_of(60) { (minutes / 60, "hour") } else { (minutes, "minute") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

impl Links {
    /// The address of `page` with a token.
    pub(super) fn with(&self, page: &str, token: &Secret<String>) -> Secret<String> {
        Secret::new(format!("{}{page}?token={}", self.base, token.expose()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::Person;
    use super::*;

    fn letters() -> Vec<Letter> {
        let to = Person { username: "ann".try_into().unwrap(), email: "ann@example.com".try_into().unwrap() };
        let scene = Scene {
            at: "2026-11-22T15:02:48Z".try_into().unwrap(),
            client: "2001:db8::1".parse().unwrap(),
            user_agent: Some("<script>Firefox</script> http://evil.example".to_owned()),
        };
        let (to, scene) = (|| to.clone(), || scene.clone());
        let email = || to().email;
        vec![
            Letter::Verification { email: email() },
            Letter::Reset { email: email() },
            Letter::NewSignIn { to: to(), scene: scene() },
            Letter::Lockout { to: to(), scene: scene() },
            Letter::SessionsEnded { to: to(), scene: scene() },
            Letter::PasswordChanged { to: to(), scene: scene() },
            Letter::AddressChanged { to: to(), scene: scene() },
        ]
    }

    #[test]
    fn every_letter_is_written_and_kept() {
        let link = Link {
            address: Secret::new("https://app.example.com/reset?token=abc&x".to_owned()),
            life: Duration::from_mins(30),
        };
        for letter in letters() {
            let link = matches!(letter, Letter::Verification { .. } | Letter::Reset { .. }).then_some(&link);
            let words = words("A <b>Service</b>", &letter, "<i>ann</i>", link).unwrap();
            assert!(words.text.contains("<i>ann</i>"), "{}", words.text);
            assert!(words.html.contains("&lt;i&gt;ann") && !words.html.contains("<i>"), "{}", words.html);
            assert!(!words.html.contains("<b>") && !words.html.contains("script"), "{}", words.html);
            assert!(!words.html.contains("evil") && !words.text.contains("evil"));
            match link {
                Some(_) => {
                    assert!(words.text.contains("\nhttps://app.example.com/reset?token=abc&x\n"), "{}", words.text);
                    assert!(words.text.contains("30 minutes"), "{}", words.text);
                    assert!(words.html.contains("token=abc&amp;x\""), "{}", words.html);
                }
                None => assert!(words.text.contains("2026-11-22 15:02 UTC") && words.text.contains("2001:db8::1")),
            }
            assert_eq!(Letter::from_text(&letter.to_text()).unwrap(), letter);
            assert!(letter.to_text().contains(&format!("\"kind\":\"{}\"", letter.kind())));
        }
    }

    #[test]
    fn spans_are_told_in_whole_units() {
        for (seconds, told) in [(60, "1 minute"), (5_400, "90 minutes"), (3_600, "1 hour"), (86_400, "24 hours")] {
            assert_eq!(span(Duration::from_secs(seconds)), told);
        }
    }
}
