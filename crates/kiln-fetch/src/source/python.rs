//! What the host's pip and uv say about their *primary* index.
//!
//! Extra indexes and find-links are never looked at: a name that two indexes have is how
//! dependency confusion works.
//!
//! Formats: `pip.conf` as pip's "Configuration" chapter describes it (Python's
//! `RawConfigParser`), `uv.toml` as uv's "Configuration files" chapter does, and the help
//! texts of both tools, which name the index that is built in.

/// The keys of a `pip.conf` that kiln reads, as `(section, key, value)`.
pub(crate) fn parse_pip_conf(text: &str) -> Vec<(String, String, String)> {
    let mut settings: Vec<(String, String, String)> = Vec::new();
    let mut section = String::new();
    let mut open = false; // whether the next indented line goes on with the last value
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t']) && open {
            if let Some((_, _, value)) = settings.last_mut() {
                value.push('\n');
                value.push_str(trimmed);
            }
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            open = false;
        } else if let Some((key, value)) = trimmed.split_once(['=', ':']) {
            // pip takes `index_url`, `index-url` and `--index-url` for the same key.
            let key = key.trim().to_ascii_lowercase().replace('_', "-");
            let key = key.strip_prefix("--").unwrap_or(&key).to_owned();
            settings.push((section.clone(), key, value.trim().to_owned()));
            open = true;
        }
    }
    settings
}

/// The value of `key` for `pip install`, from files in the order of their precedence
/// (weakest first): `[install]` of any file wins over `[global]` of any other, as in pip.
pub(crate) fn pip_setting(files: &[Vec<(String, String, String)>], key: &str) -> Option<String> {
    ["install", "global"].iter().find_map(|wanted| {
        let value = files
            .iter()
            .flatten()
            .rfind(|(section, name, _)| section == wanted && name == key)
            .map(|(_, _, value)| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    })
}

/// The primary index that a `uv.toml` names.
pub(crate) fn parse_uv_toml(text: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let default = table
        .get("index")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .find(|index| index.get("default").and_then(toml::Value::as_bool) == Some(true))
        .and_then(|index| index.get("url"));
    default
        .or_else(|| table.get("index-url"))
        .or_else(|| table.get("pip")?.get("index-url"))
        .and_then(toml::Value::as_str)
        .map(str::to_owned)
}

/// The address in `UV_DEFAULT_INDEX`, which may have a name in front: `name=https://…`.
pub(crate) fn strip_index_name(value: &str) -> &str {
    match value.split_once('=') {
        Some((name, address)) if !name.contains([':', '/', '?']) => address,
        _ => value,
    }
}

/// The default of `--index-url` in the text of `pip install --help`.
pub(crate) fn index_in_pip_help(help: &str) -> Option<String> {
    between(option(help, "--index-url ")?, "(default ", ")")
}

/// The default of `--default-index` in the text of `uv pip install --help`.
pub(crate) fn index_in_uv_help(help: &str) -> Option<String> {
    between(option(help, "--default-index ")?, "(by default: <", ">")
}

/// The help of one option: from its name to the next option.
fn option<'a>(help: &'a str, name: &str) -> Option<&'a str> {
    let rest = &help[help.find(name)? + name.len()..];
    Some(rest.split("\n  -").next().unwrap_or(rest))
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let rest = &text[text.find(before)? + before.len()..];
    let inside = rest[..rest.find(after)?].trim();
    (!inside.is_empty() && !inside.contains(char::is_whitespace)).then(|| inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_conf_is_read_as_pip_reads_it() {
        let conf = parse_pip_conf(
            "# ours\n[global]\nindex_url = https://one.example/simple\n\
             extra-index-url =\n    https://extra.example/simple\n    https://more.example\n\
             ; note\n[install]\nindex-url: https://two.example/simple\n",
        );
        let files = [conf];
        assert_eq!(
            pip_setting(&files, "index-url").as_deref(),
            Some("https://two.example/simple")
        );
        assert_eq!(
            pip_setting(&files, "extra-index-url").as_deref(),
            Some("https://extra.example/simple\nhttps://more.example")
        );
        assert_eq!(pip_setting(&files, "cert"), None);
    }

    #[test]
    fn the_later_file_wins() {
        let weak = parse_pip_conf("[global]\nindex-url=https://weak.example\n");
        let strong = parse_pip_conf("[global]\nindex-url=https://strong.example\n");
        assert_eq!(
            pip_setting(&[weak, strong], "index-url").as_deref(),
            Some("https://strong.example")
        );
    }

    #[test]
    fn uv_toml_names_its_default_index_in_three_ways() {
        for text in [
            "index-url = \"https://i.example/simple\"",
            "[pip]\nindex-url = \"https://i.example/simple\"",
            "[[index]]\nurl = \"https://extra.example\"\n\
             [[index]]\nurl = \"https://i.example/simple\"\ndefault = true",
        ] {
            assert_eq!(
                parse_uv_toml(text).as_deref(),
                Some("https://i.example/simple"),
                "{text}"
            );
        }
        assert_eq!(
            parse_uv_toml("extra-index-url = [\"https://e.example\"]"),
            None
        );
        assert_eq!(
            strip_index_name("corp=https://i.example/?a=b"),
            "https://i.example/?a=b"
        );
        assert_eq!(
            strip_index_name("https://i.example/?a=b"),
            "https://i.example/?a=b"
        );
    }

    #[test]
    fn the_built_in_index_is_read_from_the_help() {
        let pip = "  -i, --index-url <url>       Base URL of the index (default https://i.example/simple). This \
                   should\n  --extra-index-url <url>     Extra (default none)\n";
        assert_eq!(
            index_in_pip_help(pip).as_deref(),
            Some("https://i.example/simple")
        );
        let uv = "      --default-index <DEFAULT_INDEX>\n          The URL of the default package index \
                  (by default: <https://i.example/simple>).\n";
        assert_eq!(
            index_in_uv_help(uv).as_deref(),
            Some("https://i.example/simple")
        );
        let other = "  -i, --index-url <url>  Base URL.\n  --extra-index-url <url>  (default https://no.example)\n";
        assert_eq!(index_in_pip_help(other), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).{0,300}", tail in "[\\[\\]a-z=:;# \t\n-]{0,200}") {
            let all = format!("[global]\n{text}\n{tail}");
            let _ = pip_setting(&[parse_pip_conf(&all)], "index-url");
            let _ = parse_uv_toml(&all);
            let help = format!("--index-url (default{text}{tail}\n  --default-index (by default: <{tail}");
            let _ = (index_in_pip_help(&help), index_in_uv_help(&help), strip_index_name(&all));
        }
    }
}
