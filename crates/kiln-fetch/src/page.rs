//! Project pages of Python indexes.
//!
//! The JSON form (PEP 691, with sizes of PEP 700) is preferred, the HTML form (PEP 503, with
//! PEP 592, 658 and 714) is read where an index has nothing else.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use kiln_digest::Digest;
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use crate::{html, url::Url};

/// What kiln asks an index for.
pub(crate) const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
     application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// No page is read further than this; the largest known ones have some megabytes.
pub(crate) const MAX_PAGE_BYTES: u64 = 64 << 20;

/// A page lists at most this many files, many times what the largest projects have. In a page of
/// the largest size, names of one letter would become more than a gibibyte of entries.
const MAX_FILES: usize = 200_000;

/// The files of one project at one index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectPage {
    /// In the order of the page.
    pub files: Vec<ProjectFile>,
}

/// One file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectFile {
    /// The name of the source whose page listed it.
    pub source: String,
    /// The file's name.
    pub name: String,
    /// Where it is.
    pub url: Url,
    /// Its sha256, if the page says it.
    pub sha256: Option<Digest>,
    /// Its size in bytes, if the page says it.
    pub size: Option<u64>,
    /// Whether its metadata can be fetched alone.
    pub core_metadata: CoreMetadata,
    /// Which Pythons it is for (a PEP 440 specifier), if the page says it.
    pub requires_python: Option<String>,
    /// Why it was yanked (perhaps empty), if it was.
    pub yanked: Option<String>,
    /// When it was uploaded (RFC 3339), if the page says it.
    pub uploaded: Option<String>,
}

/// What a page says about a wheel's separate metadata (PEP 658).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreMetadata {
    /// Nothing.
    Unannounced,
    /// It is there.
    Announced,
    /// It is there, with this digest.
    Hashed(Digest),
}

impl ProjectPage {
    /// The entry for a file name.
    pub fn file(&self, name: &str) -> Option<&ProjectFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The page in its HTML form, with whole addresses and without logins: for a tool that shall
    /// see these files of the project and no others.
    pub fn to_html(&self) -> String {
        let mut text = "<!DOCTYPE html>\n<html><body>\n".to_owned();
        for file in &self.files {
            let mut address = file.url.wire().clone();
            address.set_fragment(
                file.sha256
                    .map(|it| format!("sha256={}", it.hex()))
                    .as_deref(),
            );
            // Writing to a text cannot fail.
            let _ = write!(text, "<a href=\"{}\"", html::escape(address.as_str()));
            let mut attribute = |name: &str, value: Option<&str>| {
                if let Some(value) = value {
                    let _ = write!(text, " {name}=\"{}\"", html::escape(value));
                }
            };
            let metadata = match file.core_metadata {
                CoreMetadata::Unannounced => None,
                CoreMetadata::Announced => Some("true".to_owned()),
                CoreMetadata::Hashed(digest) => Some(format!("sha256={}", digest.hex())),
            };
            attribute("data-core-metadata", metadata.as_deref());
            attribute("data-requires-python", file.requires_python.as_deref());
            attribute("data-yanked", file.yanked.as_deref());
            let _ = writeln!(text, ">{}</a><br>", html::escape(&file.name));
        }
        text.push_str("</body></html>\n");
        text
    }
}

/// The project name in its normal form (PEP 503), or nothing when it is no project name.
pub(crate) fn normalize(project: &str) -> Option<String> {
    let valid = project.len() <= 256
        && project
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && project.starts_with(|c: char| c.is_ascii_alphanumeric())
        && project.ends_with(|c: char| c.is_ascii_alphanumeric());
    valid.then(|| {
        let words: Vec<&str> = project
            .split(['-', '_', '.'])
            .filter(|word| !word.is_empty())
            .collect();
        words.join("-").to_ascii_lowercase()
    })
}

/// Reads a page. `base` is where it came from, `kind` its content type. Entries that make no
/// sense alone (no usable address or name) are left out; a page that makes no sense is an
/// error, in words.
pub(crate) fn parse(
    bytes: &[u8],
    kind: &str,
    base: &Url,
    source: &str,
) -> Result<ProjectPage, String> {
    let json = kind.contains("json")
        || (!kind.contains("html") && bytes.trim_ascii_start().first() == Some(&b'{'));
    let files = if json {
        parse_json(bytes, base, source)?
    } else {
        parse_html(&String::from_utf8_lossy(bytes), base, source)?
    };
    Ok(ProjectPage { files })
}

#[derive(Deserialize)]
struct JsonPage {
    #[serde(default)]
    meta: JsonMeta,
    #[serde(deserialize_with = "json_files")]
    files: Vec<JsonFile>,
}

#[derive(Deserialize, Default)]
struct JsonMeta {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    size: Option<u64>,
    requires_python: Option<String>,
    // PEP 714: the new key wins, the old one is still served.
    core_metadata: Option<Announcement>,
    dist_info_metadata: Option<Announcement>,
    yanked: Option<Yanked>,
    upload_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Announcement {
    Flag(bool),
    Hashes(BTreeMap<String, String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
}

fn json_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JsonFile>, D::Error> {
    struct Files;

    impl<'de> Visitor<'de> for Files {
        type Value = Vec<JsonFile>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of files")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut files = Vec::new();
            while let Some(file) = list.next_element()? {
                if files.len() == MAX_FILES {
                    return Err(A::Error::custom(too_many()));
                }
                files.push(file);
            }
            Ok(files)
        }
    }

    deserializer.deserialize_seq(Files)
}

fn too_many() -> String {
    format!("it lists more than {MAX_FILES} files")
}

fn parse_json(bytes: &[u8], base: &Url, source: &str) -> Result<Vec<ProjectFile>, String> {
    let page: JsonPage =
        serde_json::from_slice(bytes).map_err(|error| format!("no project page: {error}"))?;
    let version = page.meta.api_version.unwrap_or_else(|| "1.0".to_owned());
    if version.split('.').next() != Some("1") {
        let version: String = version.chars().take(20).collect();
        return Err(format!("version {version} of the simple API is not known"));
    }
    let sha256 = |hashes: &BTreeMap<String, String>| digest(hashes.get("sha256")?);
    let files = page.files.into_iter().filter_map(|file| {
        Some(ProjectFile {
            source: source.to_owned(),
            url: base.join(&file.url).ok()?,
            sha256: sha256(&file.hashes),
            size: file.size,
            core_metadata: match file.core_metadata.or(file.dist_info_metadata) {
                None | Some(Announcement::Flag(false)) => CoreMetadata::Unannounced,
                Some(Announcement::Flag(true)) => CoreMetadata::Announced,
                Some(Announcement::Hashes(hashes)) => {
                    sha256(&hashes).map_or(CoreMetadata::Announced, CoreMetadata::Hashed)
                }
            },
            requires_python: file.requires_python.filter(|text| !text.is_empty()),
            yanked: match file.yanked {
                None | Some(Yanked::Flag(false)) => None,
                Some(Yanked::Flag(true)) => Some(String::new()),
                Some(Yanked::Reason(reason)) => Some(reason),
            },
            uploaded: file.upload_time,
            name: is_file_name(&file.filename).then_some(file.filename)?,
        })
    });
    Ok(files.collect())
}

fn parse_html(text: &str, base: &Url, source: &str) -> Result<Vec<ProjectFile>, String> {
    let mut base = base.clone();
    let mut files = Vec::new();
    for tag in html::tags(text) {
        let Some(href) = tag.attribute("href") else {
            continue;
        };
        match tag.name.as_str() {
            "base" => {
                if let Ok(url) = base.join(href) {
                    base = url;
                }
            }
            "a" => files.extend(html_file(&tag, href, &base, source)),
            _ => {}
        }
        if files.len() > MAX_FILES {
            return Err(too_many());
        }
    }
    Ok(files)
}

fn html_file(tag: &html::Tag, href: &str, base: &Url, source: &str) -> Option<ProjectFile> {
    let url = base.join(href).ok()?;
    let name = percent_decode_str(url.last_segment()?).decode_utf8().ok()?;
    let fragment = href.split_once('#').map_or("", |(_, fragment)| fragment);
    let metadata = tag
        .attribute("data-core-metadata")
        .or_else(|| tag.attribute("data-dist-info-metadata"));
    Some(ProjectFile {
        source: source.to_owned(),
        name: is_file_name(&name).then(|| name.into_owned())?,
        sha256: fragment
            .split('&')
            .find_map(|part| digest(part.strip_prefix("sha256=")?)),
        size: None,
        core_metadata: match metadata {
            None | Some("false") => CoreMetadata::Unannounced,
            Some(value) => value
                .strip_prefix("sha256=")
                .and_then(digest)
                .map_or(CoreMetadata::Announced, CoreMetadata::Hashed),
        },
        requires_python: tag
            .attribute("data-requires-python")
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        yanked: tag.attribute("data-yanked").map(str::to_owned),
        uploaded: None,
        url,
    })
}

fn digest(hex: impl AsRef<str>) -> Option<Digest> {
    Digest::from_hex(&hex.as_ref().to_ascii_lowercase()).ok()
}

fn is_file_name(name: &str) -> bool {
    !name.contains('/') && crate::url::is_plain_path(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn base() -> Url {
        Url::parse("https://index.example/simple/a/").unwrap()
    }

    #[test]
    fn both_forms_of_a_page_say_the_same() {
        let json = format!(
            r#"{{"meta":{{"api-version":"1.1"}},"name":"a","files":[
              {{"filename":"a-1+x-py3-none-any.whl","url":"../../f/a-1%2Bx-py3-none-any.whl",
                "hashes":{{"md5":"0","sha256":"{HEX}"}},"requires-python":">=3.9",
                "core-metadata":{{"sha256":"{HEX}"}},"yanked":"broken","provenance":null}},
              {{"filename":"a-2.tar.gz","url":"https://files.example/a-2.tar.gz","hashes":{{}},
                "yanked":false,"core-metadata":false}}]}}"#
        );
        let html = format!(
            r#"<!DOCTYPE html><html><head><title>a</title></head><body><!-- <a href="no.whl"> -->
              <A HREF="../../f/a-1%2Bx-py3-none-any.whl#sha256={HEX}" data-requires-python="&gt;=3.9"
                 data-core-metadata='sha256={HEX}' data-yanked="broken">a-1+x-py3-none-any.whl</a><br/>
              <a href=https://files.example/a-2.tar.gz>a-2.tar.gz</a></body></html>"#
        );
        let from_json = parse(
            json.as_bytes(),
            "application/vnd.pypi.simple.v1+json",
            &base(),
            "corp",
        );
        let from_html = parse(html.as_bytes(), "text/html; charset=utf-8", &base(), "corp");
        let page = from_json.unwrap();
        assert_eq!(page, from_html.unwrap());
        let file = page.file("a-1+x-py3-none-any.whl").unwrap();
        assert_eq!(
            file.url.to_string(),
            "https://index.example/f/a-1%2Bx-py3-none-any.whl"
        );
        assert_eq!(file.sha256, Digest::from_hex(HEX).ok());
        assert_eq!(file.requires_python.as_deref(), Some(">=3.9"));
        assert_eq!(file.yanked.as_deref(), Some("broken"));
        assert_eq!(page.files.len(), 2);

        let other = Url::parse("https://me:secret@elsewhere.example/").unwrap();
        let again = parse(page.to_html().as_bytes(), "text/html", &other, "corp");
        assert_eq!(again.unwrap(), page);
    }

    #[test]
    fn the_html_form_holds_no_login_and_quotes_what_it_must() {
        let json = r#"{"files":[{"filename":"a-1.tar.gz","url":"a-1.tar.gz?sign=\"1\"&x=<2>",
            "upload-time":"2026-01-02T03:04:05Z","yanked":"\"<b>&amp;"}]}"#;
        let base = Url::parse("https://me:secret@index.example/simple/a/").unwrap();
        let page = parse(json.as_bytes(), "json", &base, "corp").unwrap();
        assert_eq!(
            page.files[0].uploaded.as_deref(),
            Some("2026-01-02T03:04:05Z")
        );
        let html = page.to_html();
        assert!(!html.contains("secret"), "{html}");
        let again = parse(html.as_bytes(), "html", &base, "corp").unwrap();
        assert_eq!(again.files[0].url.wire(), page.files[0].url.wire());
        assert_eq!(again.files[0].yanked, page.files[0].yanked);
    }

    #[test]
    fn a_base_element_moves_relative_addresses() {
        let html = r#"<base href="https://cdn.example/x/"><a href="a.whl">a</a>"#;
        let page = parse(html.as_bytes(), "text/html", &base(), "corp").unwrap();
        assert_eq!(page.files[0].url.to_string(), "https://cdn.example/x/a.whl");
    }

    #[test]
    fn an_unknown_major_version_is_refused() {
        let json = br#"{"meta":{"api-version":"2.0"},"files":[]}"#;
        assert!(parse(json, "application/json", &base(), "corp").is_err());
    }

    #[test]
    fn a_page_lists_so_many_files_and_no_more() {
        let json = |count: usize| {
            let files = vec![r#"{"filename":"a","url":"a"}"#; count].join(",");
            format!(r#"{{"files":[{files}]}}"#)
        };
        let html = |count: usize| "<a href=a>".repeat(count);
        for (kind, page) in [
            ("application/json", &json as &dyn Fn(usize) -> String),
            ("text/html", &html),
        ] {
            let read = |count| parse(page(count).as_bytes(), kind, &base(), "corp");
            assert_eq!(read(MAX_FILES).unwrap().files.len(), MAX_FILES);
            assert!(read(MAX_FILES + 1).unwrap_err().contains("200000 files"));
        }
    }

    #[test]
    fn names_are_normalized_as_the_simple_api_asks() {
        assert_eq!(normalize("Foo.-_Bar").as_deref(), Some("foo-bar"));
        for name in ["", "../x", "a/b", "-a", "a-", "é"] {
            assert_eq!(normalize(name), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_makes_the_parsers_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            html in "(<a |<base |href=|\"|'|>|&gt;|&#x|;|#sha256=|é|/| |<!--|-->|\n){0,80}",
        ) {
            let _ = parse(&bytes, "", &base(), "corp");
            let _ = parse(&bytes, "json", &base(), "corp");
            let _ = parse(html.as_bytes(), "text/html", &base(), "corp");
        }

        #[test]
        fn no_json_value_makes_the_parser_panic(value in "[\\[\\]{}\":,a-z0-9]{0,120}") {
            let text = format!("{{\"files\":[{{\"filename\":\"a\",\"url\":\"b\",{value}}}]}}");
            let _ = parse(text.as_bytes(), "json", &base(), "corp");
        }
    }
}
