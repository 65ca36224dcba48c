//! Logins from `~/.netrc` (and apt's `auth.conf`, which has the same form; `apt_auth.conf(5)`).
//!
//! `default` entries are left out on purpose: a login must not go to hosts nobody named.

use crate::url::{Login, Url};

/// One `machine` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `host`, or in apt's form `[scheme://]host[:port][/path]`.
    name: String,
    login: Login,
}

/// Reads a netrc file: words, `"quoted words"`, `#` comments, `macdef` up to an empty line.
pub(crate) fn parse(text: &str) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    let mut named = false; // whether the last `machine` is the one that keys belong to
    let mut rest = text;
    while let Some(word) = next_word(&mut rest) {
        match word.as_str() {
            "machine" => {
                let Some(name) = next_word(&mut rest) else {
                    break;
                };
                let login = Login {
                    user: String::new(),
                    password: String::new(),
                };
                machines.push(Machine { name, login });
                named = true;
            }
            "default" => named = false,
            "macdef" => rest = rest.find("\n\n").map_or("", |end| &rest[end..]),
            "login" | "password" | "account" => {
                let Some(value) = next_word(&mut rest) else {
                    break;
                };
                if let (true, Some(machine)) = (named, machines.last_mut()) {
                    match word.as_str() {
                        "login" => machine.login.user = value,
                        "password" => machine.login.password = value,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    machines
}

fn next_word(rest: &mut &str) -> Option<String> {
    loop {
        *rest = rest.trim_start();
        if !rest.starts_with('#') {
            break;
        }
        *rest = rest.find('\n').map_or("", |end| &rest[end..]);
    }
    if rest.is_empty() {
        return None;
    }
    let quoted = rest.starts_with('"');
    let mut word = String::new();
    let mut chars = rest.char_indices().skip(usize::from(quoted));
    let mut end = rest.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if quoted => {
                end = at + 1;
                break;
            }
            '\\' if quoted => word.extend(chars.next().map(|(_, c)| c)),
            c if !quoted && c.is_whitespace() => {
                end = at;
                break;
            }
            c => word.push(c),
        }
    }
    *rest = &rest[end..];
    Some(word)
}

/// The login for `url`, from the first entry whose host (and scheme, port, path, where the
/// entry has them) fits.
pub(crate) fn find(machines: &[Machine], url: &Url) -> Option<Login> {
    let host = url.host()?;
    machines
        .iter()
        .find(|machine| machine.fits(url, host))
        .map(|machine| machine.login.clone())
}

impl Machine {
    fn fits(&self, url: &Url, host: &str) -> bool {
        let (scheme, rest) = match self.name.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, &*self.name),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let host_fits = authority.eq_ignore_ascii_case(host)
            || url
                .wire()
                .port_or_known_default()
                .is_some_and(|port| authority.eq_ignore_ascii_case(&format!("{host}:{port}")));
        // `/debian` fits `/debian` and `/debian/…`, not `/debian-private`.
        let path_fits = url
            .path()
            .strip_prefix(path.trim_end_matches('/'))
            .is_some_and(|below| below.is_empty() || below.starts_with('/'));
        host_fits && path_fits && scheme.is_none_or(|scheme| scheme == url.wire().scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str, url: &str) -> Option<(String, String)> {
        find(&parse(text), &Url::parse(url).unwrap()).map(|l| (l.user, l.password))
    }

    #[test]
    fn a_login_goes_to_its_own_host_only() {
        let netrc = "machine one.example login me password \"p \\\" w\" # mine\n\
                     default login anybody password guest\n\
                     machine two.example\n  login you\n  password pw\n";
        let me = Some(("me".to_owned(), "p \" w".to_owned()));
        assert_eq!(login(netrc, "https://one.example/simple"), me);
        assert_eq!(login(netrc, "https://ONE.example:8443/simple"), me);
        assert_eq!(
            login(netrc, "http://two.example/"),
            Some(("you".to_owned(), "pw".to_owned()))
        );
        assert_eq!(login(netrc, "http://three.example/"), None);
        assert_eq!(login(netrc, "http://evil-one.example/"), None);
    }

    #[test]
    fn macros_are_passed_over() {
        let netrc = "macdef init\ncd /pub\nmachine not.example login a password b\n\n\
                     machine one.example login me password pw\n";
        assert_eq!(login(netrc, "http://not.example/"), None);
        assert!(login(netrc, "http://one.example/").is_some());
    }

    #[test]
    fn apt_entries_may_name_scheme_port_and_path() {
        let conf = "machine https://apt.example:8443/debian/ login me password pw";
        assert!(login(conf, "https://apt.example:8443/debian/dists").is_some());
        assert!(login(conf, "https://apt.example:8443/debian-private/x").is_none());
        assert!(login(conf, "https://apt.example/debian/dists").is_none());
        assert!(login(conf, "http://apt.example:8443/debian/dists").is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,300}", words in "(machine|login|password|macdef|default|\"|\\\\|#|\n| |é){0,60}") {
            let url = Url::parse("https://a.example/x").unwrap();
            let _ = find(&parse(&text), &url);
            let _ = find(&parse(&words), &url);
        }
    }
}
