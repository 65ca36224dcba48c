//! apt's lists of sources (sources.list(5)): where the host gets Debian or Ubuntu packages.
//!
//! Both formats are read: one line an entry (`*.list`) and deb822 stanzas (`*.sources`).
//! Only what is needed to *find* an archive is kept: what it contains is believed because
//! of its signature, which resolving checks against the family's own keyrings.

/// One enabled entry of type `deb`: an archive, its suites and components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AptEntry {
    /// As written; may hold a login.
    pub(crate) uris: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    /// The value of `Signed-By`, on one line.
    pub(crate) signed_by: String,
}

/// More entries than any real host has: the rest is not read.
const MAX_ENTRIES: usize = 1000;

/// Reads a `*.list` file. Lines that make no sense are passed over, as they are apt's to
/// complain about.
pub(crate) fn parse_one_line(text: &str) -> Vec<AptEntry> {
    text.lines()
        .filter_map(one_line_entry)
        .take(MAX_ENTRIES)
        .collect()
}

fn one_line_entry(line: &str) -> Option<AptEntry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None; // deb-src
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .unwrap_or_default()
        .to_owned();
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(AptEntry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// Reads a `*.sources` file (deb822 stanzas).
pub(crate) fn parse_deb822(text: &str) -> Vec<AptEntry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    // An empty line at the end closes the last stanza.
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            entries.extend(deb822_entry(&fields));
            fields.clear();
            if entries.len() >= MAX_ENTRIES {
                break;
            }
        } else if line.starts_with('#') {
            // A comment, also between a field and its continuation.
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn deb822_entry(fields: &[(String, String)]) -> Option<AptEntry> {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value.as_str())
    };
    let words =
        |name: &str| -> Vec<String> { field(name).split_whitespace().map(str::to_owned).collect() };
    let disabled = ["no", "false", "0", "off", "without", "disable"];
    if disabled.contains(&field("enabled").to_ascii_lowercase().as_str())
        || !words("types").iter().any(|kind| kind == "deb")
    {
        return None;
    }
    let entry = AptEntry {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by").to_owned(),
    };
    (!entry.uris.is_empty() && !entry.suites.is_empty()).then_some(entry)
}

/// Reads a mirror list (apt-transport-mirror(1)): one address a line, options after a tab.
pub(crate) fn parse_mirror_list(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split('#').next()?.split_whitespace().next())
        .map(str::to_owned)
        .take(MAX_ENTRIES)
        .collect()
}

/// The address of the archive that holds source `name` with `suite`, as the host's apt uses
/// it.
///
/// Candidates have a `main` component (third parties publish under the same suite names,
/// mostly under other components). Best first: the suite is listed *and* the address ends in
/// the source's name (`…/debian`); the suite is listed (enterprise mirrors call their trees
/// as they like); the address ends in the source's name, for suites that the host itself
/// does not use. What kiln cannot fetch from (`cdrom:`, `tor+http:`) comes last; the caller
/// says so. Among equals, one signed by the distribution's own keyring wins, then the
/// first.
pub(crate) fn find<'a>(entries: &'a [AptEntry], name: &str, suite: &str) -> Option<&'a str> {
    let distribution = name.split('-').next().unwrap_or(name);
    let mut best: Option<(u8, &str)> = None;
    for entry in entries {
        if !entry.components.iter().any(|component| component == "main") {
            continue;
        }
        let has_suite = entry.suites.iter().any(|listed| listed == suite);
        let own_keyring = entry
            .signed_by
            .contains(&format!("{distribution}-archive-keyring"));
        for uri in &entry.uris {
            let named = last_segment(uri) == Some(name);
            if !has_suite && !named {
                continue;
            }
            let fetchable = ["http:", "https:", "file:"]
                .iter()
                .any(|s| uri.starts_with(s));
            let score = 8 * u8::from(fetchable)
                + 4 * u8::from(has_suite)
                + 2 * u8::from(named)
                + u8::from(own_keyring);
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, uri));
            }
        }
    }
    best.map(|(_, uri)| uri)
}

fn last_segment(uri: &str) -> Option<&str> {
    let path = uri.split(['?', '#']).next()?;
    path.rsplit('/').find(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
# main archive
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
# a comment inside
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: trixie
Components: main
";

    #[test]
    fn deb822_stanzas_that_are_enabled_and_binary_are_read() {
        let entries = parse_deb822(DEB822);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(entries[0].components, ["main", "contrib"]);
        assert_eq!(entries[1].uris, ["http://mirror.example/debian-security"]);
    }

    #[test]
    fn one_line_entries_are_read_with_options_and_comments() {
        let entries = parse_one_line(
            "deb [arch=amd64 signed-by=/k.gpg] http://m.example/ubuntu noble main universe # x\n\
             # deb http://off.example/ubuntu noble main\n\
             deb-src http://src.example/ubuntu noble main\n\
             debug nonsense\n\
             deb [unclosed\n\
             deb\thttp://flat.example/repo ./\n",
        );
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].uris, ["http://m.example/ubuntu"]);
        assert_eq!(entries[0].components, ["main", "universe"]);
        assert_eq!(entries[0].signed_by, "/k.gpg");
        assert_eq!(entries[1].suites, ["./"]);
    }

    #[test]
    fn suites_that_the_host_does_not_use_come_from_the_archive_of_that_name() {
        let entries = parse_deb822(DEB822);
        assert_eq!(
            find(&entries, "debian", "trixie"),
            Some("http://mirror.example/debian/")
        );
        assert_eq!(
            find(&entries, "debian-security", "trixie-security"),
            Some("http://mirror.example/debian-security")
        );
        assert_eq!(find(&entries, "ubuntu", "noble"), None);
    }

    #[test]
    fn a_third_party_with_the_same_suite_does_not_win() {
        let entries = parse_one_line(
            "deb http://vendor.example/linux/debian bookworm stable\n\
             deb [signed-by=/usr/share/keyrings/vendor.gpg] http://tools.example bookworm main\n\
             deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                 http://nexus.example/deb-proxy bookworm main\n",
        );
        assert_eq!(
            find(&entries, "debian", "bookworm"),
            Some("http://nexus.example/deb-proxy")
        );
    }

    #[test]
    fn mirror_lists_hold_one_address_a_line() {
        assert_eq!(
            parse_mirror_list("# ours\nhttp://a.example/debian\tpriority:1\n\nhttp://b.example/d"),
            ["http://a.example/debian", "http://b.example/d"]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_list_makes_the_parsers_panic(text in "(?s).{0,300}", tail in "[a-z:#\\[\\] \t\n/=]{0,200}") {
            let all = format!("{text}{tail}deb{tail}\nTypes: deb\nURIs:{tail}");
            let mut entries = parse_one_line(&all);
            entries.extend(parse_deb822(&all));
            let _ = (find(&entries, "debian", "trixie"), parse_mirror_list(&all));
        }
    }
}
