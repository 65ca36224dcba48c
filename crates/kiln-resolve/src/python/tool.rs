//! The `uv` binary, at an exact version: from `PATH` when it is that version, else from the
//! Python source like any wheel.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kiln_fetch::{Artifact, FetchError, Fetcher, Wanted};
use kiln_lock::Tool;
use kiln_recipe::{Platform, PythonVersion};

use super::{SOURCE, target::Target, wheel_name::WheelName};

/// The version that is used when the family names none.
pub const DEFAULT_VERSION: &str = "0.13.9";

/// The largest executable that is unpacked, in bytes; uv has 38 MB.
const MAX_EXECUTABLE: u64 = 256 << 20;
/// The most members that are looked through; uv's wheel has some dozen.
const MAX_MEMBERS: usize = 10_000;

/// Where uv is.
#[derive(Debug, Clone)]
pub struct Uv {
    /// The executable.
    pub executable: PathBuf,
    /// The wheel that it came from, for the lock; nothing when it was found on `PATH`.
    pub tool: Option<Tool>,
}

/// Why there is no uv.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// It cannot be fetched.
    #[error("uv {version}, which chooses Python packages, cannot be fetched")]
    Fetch {
        /// The version.
        version: String,
        /// Why.
        #[source]
        cause: Box<FetchError>,
    },
    /// The source has no wheel of it for this machine.
    #[error("source `{SOURCE}` has no wheel of uv {version} for this machine")]
    NoWheel {
        /// The version.
        version: String,
    },
    /// The wheel holds no usable executable.
    #[error("{file} holds no usable `uv`: {why}")]
    Unusable {
        /// The wheel.
        file: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A file could not be read or written.
    #[error("uv cannot be unpacked: {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl ToolError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch { version, cause } => cause
                .hint()
                .or_else(|| Some(format!("install uv {version} so that it is on PATH"))),
            Self::NoWheel { .. } | Self::Unusable { .. } => Some(
                "put that version of uv on PATH, or name another one as `uv` in kiln.toml"
                    .to_owned(),
            ),
            Self::Disk { .. } => None,
        }
    }
}

/// Finds uv at exactly `version`. `locked` are the tools of the previous lock: a wheel that it
/// names is taken with the digest that it names, so that a changed file is an error. Executables
/// are kept in `cache_dir`, wheels in `downloads_dir`.
pub fn find(
    version: &str,
    locked: &[Tool],
    fetcher: &Fetcher,
    cache_dir: &Path,
    downloads_dir: &Path,
) -> Result<Uv, ToolError> {
    if on_path(version) {
        return Ok(Uv {
            executable: PathBuf::from("uv"),
            tool: None,
        });
    }
    let tool = wheel(version, locked, fetcher)?;
    let executable = cache_dir.join(format!("uv-{}-{}", tool.version, tool.sha256.short()));
    if !executable.is_file() {
        let archive = download(&tool, fetcher, downloads_dir)?;
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |cause| ToolError::Disk { path, cause }
        };
        let bytes = fs::read(&archive).map_err(disk(&archive))?;
        let unusable = |why| ToolError::Unusable {
            file: tool.file.clone(),
            why,
        };
        let content = member(&bytes, ".data/scripts/uv").map_err(unusable)?;
        install(&content, &executable).map_err(disk(&executable))?;
    }
    Ok(Uv {
        executable,
        tool: Some(tool),
    })
}

/// Whether `uv` on `PATH` says that it is this version (`uv 0.13.9 (…)`).
fn on_path(version: &str) -> bool {
    let output = Command::new("uv")
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .nth(1)
                == Some(version)
    })
}

/// The wheel for this machine, from the previous lock when it has it, else from the project page.
fn wheel(version: &str, locked: &[Tool], fetcher: &Fetcher) -> Result<Tool, ToolError> {
    let tags = host().tags();
    let preference = |file: &str| {
        let name: WheelName = file.parse().ok()?;
        (name.name.as_ref() == "uv" && name.version.to_string() == version)
            .then(|| name.preference(&tags))?
    };
    let known = locked
        .iter()
        .filter(|tool| tool.name == "uv" && preference(&tool.file).is_some());
    if let Some(tool) = known.min_by_key(|tool| preference(&tool.file)) {
        return Ok(tool.clone());
    }
    let page = fetcher
        .project_page(SOURCE, "uv")
        .map_err(|cause| ToolError::Fetch {
            version: version.to_owned(),
            cause: Box::new(cause),
        })?;
    let best = page
        .files
        .iter()
        .filter_map(|file| Some((preference(&file.name)?, file.sha256?, file.size?, file)))
        .min_by_key(|(preference, ..)| preference.clone());
    let Some((_, sha256, size, file)) = best else {
        return Err(ToolError::NoWheel {
            version: version.to_owned(),
        });
    };
    Ok(Tool {
        name: "uv".to_owned(),
        version: version.to_owned(),
        file: file.name.clone(),
        sha256,
        size,
        source: SOURCE.to_owned(),
    })
}

/// This machine, for a wheel that holds one executable. uv's own wheels for glibc ask for 2.17 or
/// 2.28 and its executables are the same everywhere, so the oldest common C library is assumed.
fn host() -> Target {
    let platform = if cfg!(target_arch = "aarch64") {
        Platform::LinuxArm64
    } else {
        Platform::LinuxAmd64
    };
    Target {
        platform,
        python: PythonVersion { major: 3, minor: 8 },
        patch: None,
        glibc: 28,
    }
}

fn download(tool: &Tool, fetcher: &Fetcher, directory: &Path) -> Result<PathBuf, ToolError> {
    let wanted = Wanted {
        source: tool.source.clone(),
        what: Artifact::Python {
            project: "uv".to_owned(),
            file: tool.file.clone(),
        },
        sha256: tool.sha256,
        size: tool.size,
    };
    let mut results = fetcher.download(vec![wanted], directory, |_| {});
    let result = results
        .next()
        .map_or(Err(FetchError::Cancelled), |(_, result)| result);
    result.map_err(|cause| ToolError::Fetch {
        version: tool.version.clone(),
        cause: Box::new(cause),
    })
}

/// The content of the one member of a zip whose path ends so.
fn member(archive: &[u8], suffix: &str) -> Result<Vec<u8>, &'static str> {
    let zip = rawzip::ZipArchive::from_slice(archive).map_err(|_| "it is no zip")?;
    let mut entries = zip.entries();
    for _ in 0..MAX_MEMBERS {
        let Some(header) = entries
            .next_entry()
            .map_err(|_| "its directory is malformed")?
        else {
            return Err("no such member");
        };
        if !header.file_path().as_ref().ends_with(suffix.as_bytes()) {
            continue;
        }
        let entry = zip
            .get_entry(header.wayfinder())
            .map_err(|_| "its member is malformed")?;
        let mut content = Vec::new();
        match header.compression_method() {
            rawzip::CompressionMethod::STORE => {
                read_member(&entry, entry.data(), &mut content)?;
            }
            rawzip::CompressionMethod::DEFLATE => {
                let inflate = flate2::read::DeflateDecoder::new(entry.data());
                read_member(&entry, inflate, &mut content)?;
            }
            _ => return Err("its member has an unknown compression"),
        }
        return Ok(content);
    }
    Err("too many members")
}

/// Reads with a bound, and verifies length and CRC-32.
fn read_member(
    entry: &rawzip::ZipSliceEntry<'_>,
    reader: impl Read,
    content: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let mut reader = entry.verifying_reader(reader).take(MAX_EXECUTABLE + 1);
    reader
        .read_to_end(content)
        .map_err(|_| "its member is corrupt")?;
    if content.len() as u64 > MAX_EXECUTABLE {
        return Err("its member is too large");
    }
    Ok(())
}

/// Writes an executable under a temporary name and renames it, so that nobody meets half of one.
fn install(content: &[u8], path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o755))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A zip of one stored member, by hand (APPNOTE 4.3).
    fn zip(name: &str, content: &[u8], crc: u32) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let mut shared = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        shared.extend([crc.to_le_bytes(), size, size].concat());
        shared.extend(name_length);
        shared.extend([0, 0]);
        let body = [b"PK\x03\x04", shared.as_slice(), name.as_bytes(), content].concat();
        let directory = [
            b"PK\x01\x02\x14\x00",
            shared.as_slice(),
            &[0; 14],
            name.as_bytes(),
        ]
        .concat();
        let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
        end.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
        end.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        end.extend([0, 0]);
        [body, directory, end].concat()
    }

    #[test]
    fn the_executable_is_taken_only_when_it_is_whole() {
        let mut crc = flate2::Crc::new();
        crc.update(b"binary");
        let name = "uv-1.data/scripts/uv";
        let whole = zip(name, b"binary", crc.sum());
        assert_eq!(member(&whole, ".data/scripts/uv"), Ok(b"binary".to_vec()));
        assert_eq!(member(&whole, ".data/scripts/uvx"), Err("no such member"));
        let corrupt = zip(name, b"binarY", crc.sum());
        assert_eq!(
            member(&corrupt, ".data/scripts/uv"),
            Err("its member is corrupt")
        );
        assert_eq!(member(b"no zip", ".data/scripts/uv"), Err("it is no zip"));
    }

    #[test]
    fn an_executable_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bin/uv");
        install(b"binary", &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"binary");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(
            fs::read_dir(directory.path().join("bin")).unwrap().count(),
            1
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            at in 0..200_usize,
            value: u8,
        ) {
            let _ = member(&bytes, "uv");
            let mut damaged = zip("scripts/uv", b"binary", 7);
            let at = at % damaged.len();
            damaged[at] = value;
            let _ = member(&damaged, "uv");
        }
    }
}
