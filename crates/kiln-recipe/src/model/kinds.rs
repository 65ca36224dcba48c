//! Bases, bundles and IDEs.

use super::{Component, Location, PythonVersion, SizeLimit};

/// One archive of OS packages that a base or an accelerator uses: one suite of one named source.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The source's name: `debian`, `debian-security`.
    pub source: String,
    /// `bookworm`, `bookworm-security`.
    pub suite: String,
    /// `main`, …
    pub components: Vec<String>,
    /// The keyring (binary or armored `OpenPGP`) that must have signed `InRelease`: a file of the
    /// family, and its bytes.
    pub keyring: String,
    /// The bytes of the keyring.
    pub keyring_bytes: Vec<u8>,
    /// Whether an expired `Valid-Until` is an error.
    pub check_valid_until: bool,
    /// The bases that an accelerator's archive is for; all where empty, as a base's own are.
    pub bases: Vec<String>,
    /// Where it is declared.
    pub at: Location,
}

/// An operating system with its Python.
#[derive(Debug, Clone)]
pub struct Base {
    /// What it brings.
    pub component: Component,
    /// The `{os}` of image names: `d12`.
    pub code: String,
    /// `debian` or `ubuntu`.
    pub distribution: String,
    /// `bookworm`.
    pub suite: String,
    /// The Python that its OS packages bring.
    pub python: PythonVersion,
    /// Where its OS packages come from.
    pub archives: Vec<Archive>,
}

/// A set of libraries.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What it brings beyond its parent.
    pub component: Component,
    /// The bundle that it extends.
    pub extends: Option<String>,
    /// Whether its parent's pins bind it not.
    pub independent: bool,
    /// What each image with this bundle may weigh.
    pub max_size: Option<SizeLimit>,
}

/// What starts when the image starts. `runtime` always exists and starts nothing.
#[derive(Debug, Clone)]
pub struct Ide {
    /// What it brings.
    pub component: Component,
    /// The command, as an exec-form entrypoint; empty for none.
    pub command: Vec<String>,
    /// The TCP port that it serves.
    pub port: Option<u16>,
}
