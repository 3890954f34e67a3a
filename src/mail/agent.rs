//! What a client calls itself, in words of our own: the text is a stranger's, and mailboxes make links of what looks like
//! one.

const PROGRAMS: &[(&str, &str)] = &[
    ("edg", "Edge"),
    ("opr/", "Opera"),
    ("firefox", "Firefox"),
    ("fxios", "Firefox"),
    ("crios", "Chrome"),
    ("chrome", "Chrome"),
    ("safari", "Safari"),
    ("curl/", "curl"),
    ("wget/", "wget"),
    ("postmanruntime", "Postman"),
    ("python", "a Python program"),
    ("okhttp", "an app"),
    ("dart", "an app"),
    ("node", "a Node.js program"),
    ("go-http-client", "a Go program"),
    ("java", "a Java program"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("windows", "Windows"),
    ("android", "Android"),
    ("iphone", "an iPhone"),
    ("ipad", "an iPad"),
    ("mac os", "a Mac"),
    ("cros", "a Chromebook"),
    ("linux", "Linux"),
];

/// The program and the system that `agent` names, as far as they are known.
pub(super) fn describe(agent: Option<&str>) -> String {
    let agent = agent.unwrap_or_default().to_ascii_lowercase();
    let known =
        |list: &[(&str, &'static str)]| list.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name);
    match (known(PROGRAMS), known(SYSTEMS)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, Some(system)) => format!("an unknown program on {system}"),
        (None, None) => "an unknown program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn nothing_of_a_strangers_text_is_repeated() {
        for (agent, told) in [
            (Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), "Firefox on Linux"),
            (Some("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"), "Chrome on Windows"),
            (Some("curl/8.5.0"), "curl"),
            (Some("<b>http://evil.example</b>\r\nBcc: a@example.com"), "an unknown program"),
            (None, "an unknown program"),
        ] {
            assert_eq!(describe(agent), told);
        }
    }
}
