//! What is read from servers and from the host's own configuration.

use kiln_fetch::{Url, fuzzing};

use crate::shown;

/// A page of a Python index. The first byte says with what content type it came.
pub fn project_page(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let kind = match kind % 3 {
        0 => "application/vnd.pypi.simple.v1+json",
        1 => "text/html",
        _ => "",
    };
    let base = Url::parse("https://mirror.example.org/simple/demo/").unwrap();
    let Ok(page) = fuzzing::project_page(data, kind, &base, "pypi") else {
        return;
    };
    for file in &page.files {
        assert!(!file.name.is_empty(), "a file without a name");
        assert!(page.file(&file.name).is_some());
        let written = file.url.reveal();
        assert_eq!(Url::parse(&written).as_ref(), Ok(&file.url), "{written}");
    }
}

/// Configuration of apt, pip, uv and netrc, and the addresses in it.
pub fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let addresses = fuzzing::host_files(text);
    for address in addresses.iter().map(String::as_str).chain(text.lines()) {
        let Some(url) = shown(Url::parse(address)) else {
            continue;
        };
        let written = url.reveal();
        assert_eq!(Url::parse(&written).as_ref(), Ok(&url), "{written}");
    }
}
