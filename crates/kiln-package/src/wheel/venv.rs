//! The virtual environment itself, without packages.
//!
//! Source: PEP 405 and the `venv` module of Python 3.11 to 3.13. The scripts that activate an
//! environment are kiln's own; they set what those of `venv` set.

use bytes::Bytes;
use kiln_layer::{Entry, Payload};

use super::{Placement, WheelError, layout::Tree};

/// The scripts in `bin` and their texts, with placeholders for prefix and name.
const SCRIPTS: [(&str, &str); 3] = [
    ("activate", include_str!("activate/activate.sh")),
    ("activate.csh", include_str!("activate/activate.csh")),
    ("activate.fish", include_str!("activate/activate.fish")),
];

/// The entries of an empty environment whose Python is `base_executable`, an absolute path such
/// as `/usr/bin/python3.11`. Sorted by path, with all directories from the prefix on.
pub fn venv(placement: &Placement, base_executable: &str) -> Result<Vec<Entry>, WheelError> {
    let mut tree = Tree::new(placement)?;
    let (major, minor) = placement.python;
    let versioned = format!("python{major}.{minor}");
    let (home, executable) = base_executable
        .rsplit_once('/')
        .filter(|(home, name)| home.starts_with('/') && !name.is_empty())
        .filter(|_| !base_executable.contains(char::is_control))
        .ok_or_else(|| WheelError::Interpreter(base_executable.to_owned()))?;

    tree.directory(&format!("include/{versioned}"))?;
    tree.directory(&placement.site_packages())?;
    tree.symlink("lib64", "lib")?;
    tree.symlink(&format!("bin/{executable}"), base_executable)?;
    for name in ["python", "python3", &versioned] {
        if name != executable {
            tree.symlink(&format!("bin/{name}"), executable)?;
        }
    }

    let prefix = format!("/{}", placement.prefix);
    let configuration = format!(
        "home = {home}\n\
         include-system-site-packages = false\n\
         version = {major}.{minor}\n\
         executable = {base_executable}\n\
         command = {base_executable} -m venv --without-pip {prefix}\n"
    );
    tree.file("pyvenv.cfg", plain(configuration), false)?;
    let name = String::from_utf8_lossy(placement.prefix.file_name());
    for (script, text) in SCRIPTS {
        let text = text.replace("@PREFIX@", &prefix).replace("@NAME@", &name);
        tree.file(&format!("bin/{script}"), plain(text), false)?;
    }
    Ok(tree.into_entries())
}

fn plain(text: String) -> Payload {
    Payload::Plain(Bytes::from(text))
}
