//! Readers of foreign bytes that only this crate needs, for the fuzz targets of the project.
//! Nothing here is an interface.

use crate::{
    metadata::wheel::{self, Pieces},
    page::{self, ProjectPage},
    source::{apt, netrc, python},
    url::Url,
};

pub fn project_page(
    bytes: &[u8],
    kind: &str,
    base: &Url,
    source: &str,
) -> Result<ProjectPage, String> {
    page::parse(bytes, kind, base, source)
}

pub fn wheel_metadata(wheel: &[u8]) -> Result<String, String> {
    let total = wheel.len() as u64;
    let mut pieces = Pieces::new(total);
    pieces.add(0, wheel.to_vec());
    wheel::metadata(&pieces, total)
}

/// Reads the text as each of the host's files, and gives the addresses in them.
pub fn host_files(text: &str) -> Vec<String> {
    let entries = [apt::parse_one_line(text), apt::parse_deb822(text)].concat();
    let mut addresses: Vec<String> = entries.into_iter().flat_map(|entry| entry.uris).collect();
    addresses.extend(apt::parse_mirror_list(text));
    addresses.extend(python::pip_setting(
        &[python::parse_pip_conf(text)],
        "index-url",
    ));
    addresses.extend(python::parse_uv_toml(text));
    addresses.push(python::strip_index_name(text).to_owned());
    addresses.extend(python::index_in_pip_help(text));
    addresses.extend(python::index_in_uv_help(text));
    let machines = netrc::parse(text);
    for url in addresses.iter().filter_map(|text| Url::parse(text).ok()) {
        let _ = netrc::find(&machines, &url);
    }
    addresses
}
