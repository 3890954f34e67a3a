/// What a new password must satisfy; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "five independent settings of the contract")]
pub struct Policy {
    /// Least number of characters.
    pub min_length: usize,
    /// At least one upper-case letter.
    pub uppercase: bool,
    /// At least one lower-case letter.
    pub lowercase: bool,
    /// At least one digit.
    pub numbers: bool,
    /// At least one character that is neither letter nor digit.
    pub special: bool,
    /// How hard to guess, from 0 to 4, by the estimate of zxcvbn.
    pub strength: u8,
}

/// What everybody can find out about whose password it shall be.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Sign-in name.
    pub username: &'a str,
    /// Mail address.
    pub email: &'a str,
}

/// The longest password that is accepted, in bytes; bounds the work of one hash.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

/// So many characters are looked at for how hard they are to guess, which takes time with the cube of their number; what
/// follows can only make it harder.
const MOST_ESTIMATED: usize = 64;

/// Shorter parts of a name or an address are in many words by chance.
const LEAST_PART: usize = 4;

/// Beside its owner's name, a password must have this much of its own.
const LEAST_OWN: usize = 6;

impl Policy {
    /// Says which rule `password` breaks, if any, as far as that can be said without knowing whose it is.
    ///
    /// # Errors
    /// The rule, in the words of the contract.
    pub fn check(&self, password: &str) -> Result<(), String> {
        let missing = |wanted: bool, test: fn(char) -> bool| wanted && !password.chars().any(test);
        if password.chars().count() < self.min_length {
            return Err(format!("Password must be at least {} characters long", self.min_length));
        }
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(format!("Password must be at most {MAX_PASSWORD_BYTES} bytes long"));
        }
        let broken = if missing(self.uppercase, char::is_uppercase) {
            "Password must contain at least one uppercase letter"
        } else if missing(self.lowercase, char::is_lowercase) {
            "Password must contain at least one lowercase letter"
        } else if missing(self.numbers, char::is_numeric) {
            "Password must contain at least one number"
        } else if missing(self.special, |c| !c.is_alphanumeric()) {
            "Password must contain at least one special character"
        } else {
            return Ok(());
        };
        Err(broken.to_owned())
    }

    /// Says which rule `password` breaks as the password of `about`, if it passes [`Policy::check`].
    ///
    /// # Errors
    /// The rule.
    pub fn suits(&self, password: &str, about: About<'_>) -> Result<(), String> {
        let own = parts(about);
        // The default policy is that of whoever only asks what would be read.
        if self.min_length > 0 && repeats(password, &own) {
            return Err("Password must not be made of the user name or the email address".to_owned());
        }
        if self.strength == 0 {
            return Ok(());
        }
        let start: String = password.chars().take(MOST_ESTIMATED).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        if u8::from(zxcvbn::zxcvbn(&start, &own).score()) < self.strength {
            return Err("Password is too easy to guess".to_owned());
        }
        Ok(())
    }
}

/// Name and address with their parts, in lower case, the longest first.
fn parts(about: About<'_>) -> Vec<String> {
    let email = about.email.to_lowercase();
    let local = email.rsplit_once('@').map_or(email.as_str(), |(local, _)| local).to_owned();
    let mut parts: Vec<String> = local.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    parts.extend([about.username.to_lowercase(), local, email]);
    parts.retain(|part| part.chars().count() >= LEAST_PART);
    parts.sort_by_key(|part| std::cmp::Reverse(part.chars().count()));
    parts.dedup();
    parts
}

/// Whether `password` is one of `parts`, forwards or backwards, with little else.
fn repeats(password: &str, parts: &[String]) -> bool {
    let password = password.to_lowercase();
    parts.iter().any(|part| {
        let backwards: String = part.chars().rev().collect();
        [part, &backwards].into_iter().any(|part| {
            password.contains(part.as_str()) && password.replace(part.as_str(), "").chars().count() < LEAST_OWN
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { min_length: 8, uppercase: true, lowercase: true, numbers: true, special: true, strength: 0 };
    const ANN: About<'_> = About { username: "annabel", email: "anna.belle-42@mail.example.com" };

    #[test]
    fn policy_names_the_broken_rule() {
        assert!(POLICY.check("Abcdef1!").is_ok());
        for (bad, word) in [
            ("Ab1!", "8 characters"),
            ("abcdef1!", "uppercase"),
            ("ABCDEF1!", "lowercase"),
            ("Abcdefg!", "number"),
            ("Abcdefg1", "special"),
        ] {
            assert!(POLICY.check(bad).unwrap_err().contains(word), "{bad}");
        }
    }

    #[test]
    fn ones_own_name_is_no_password() {
        for bad in
            ["Annabel1!", "1annabel", "lebannA12!", "anna.belle-42", "Belle2026!", "ANNA.BELLE-42@mail.example.com"]
        {
            assert!(POLICY.suits(bad, ANN).is_err(), "{bad}");
        }
        for good in ["Annabel-walks-home1", "correct horse", "Mail.example1", "x4213!bx"] {
            assert!(POLICY.suits(good, ANN).is_ok(), "{good}");
        }
        let short = About { username: "bo", email: "bo@example.com" };
        assert!(POLICY.suits("Bo123456!", short).is_ok());
    }

    #[test]
    fn strength_is_estimated_for_whoever_wants_it() {
        let strict = Policy { strength: 3, ..POLICY };
        for (bad, good) in [("Passw0rd!", "rK7#pQ2m!vLx9"), ("Qwerty123!", "otter plum Vault 9!")] {
            assert!(strict.suits(bad, ANN).unwrap_err().contains("easy to guess"), "{bad}");
            assert!(POLICY.suits(bad, ANN).is_ok());
            assert!(strict.suits(good, ANN).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_estimate_of_a_long_password_is_quick() {
        let started = std::time::Instant::now();
        let strict = Policy { strength: 4, ..POLICY };
        for hostile in ["a".repeat(1_024), "aB1!".repeat(256), "2026-11-23".repeat(100), "l33t p@ssw0rd ".repeat(70)] {
            let _either = strict.suits(&hostile, ANN);
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
