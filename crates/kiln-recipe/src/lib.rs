//! Family files → [`Family`]: parsing, combination rules, image names.
//!
//! Reading is apart from parsing: [`read_family`] brings bytes, [`parse`] is a pure function of
//! them. All that is wrong is reported at once, each with its place, its line and, where a
//! newcomer can act, a hint.
//!
//! # Words
//!
//! - **family**: one directory: `kiln.toml`, and files for its components.
//! - **component**: a base, an accelerator, a bundle or an IDE.
//! - **combination**: one base, accelerator, bundle and IDE: an image.
//! - **part** of an image name: what stands for one placeholder of the name pattern.
//! - **edit**: a new text of a component's file in which a list has an entry more or less ([`edit`]).
//! - **place**, **spot**: file, line and column; with the width and text to show an error there.
//!
//! # Format of the family's files
//!
//! TOML 1.0. Unknown keys are errors. `!` marks keys that must be there.
//!
//! ```text
//! kiln.toml                    the family and its images
//! bases/NAME.toml              a base; files that it places in bases/NAME/
//! accelerators/NAME.toml       an accelerator; files in accelerators/NAME/; `cpu` needs no file
//! bundles/NAME/bundle.toml     a bundle, and beside it the files that it places
//! ides/NAME/ide.toml           an IDE, and beside it its files; `runtime` needs no file
//! keyrings/FILE                OpenPGP public keys, binary or armored
//! releases/NAME/               files of an older release, which lie over these ([`read_release`])
//! ```
//!
//! Bundles and IDEs stand in image names, so theirs are lowercase letters, digits and dots
//! ([`is_name_part`]); names of bases and accelerators may have `-` and `_` inside too.
//!
//! ## `kiln.toml`
//!
//! | table | key | meaning |
//! |---|---|---|
//! | `[family]` | `name`! | the family's name |
//! | | `release`! | stands in image names: `2026b` |
//! | | `description`, `vendor`, `source`, `licenses` | for `org.opencontainers.image.*` labels |
//! | | `repository` | image repository without a tag; `localhost/NAME` |
//! | | `default-base` | the base that is meant when a name fits images on several |
//! | | `platforms` | `["linux/amd64"]` |
//! | | `name-pattern` | see [`NamePattern`] |
//! | | `uv` | exact version of the tool that resolves Python |
//! | | `pack-only` | whether nothing is executed: false |
//! | | `bytecode` | whether images hold compiled Python modules: true |
//! | `[user]` | `uid`, `gid` | who images run as and who owns the Python tree: 1001, 0 |
//! | | `name`, `shell` | login name `default`, login shell `/bin/bash` |
//! | | `prefix`, `home` | the Python tree `/opt/app-root`; working directory `/opt/app-root/src` |
//! | `[sources]` | NAME = URL | where a source lives, when the host shall not decide; no credentials |
//! | `[[image]]` | `base`!, `bundle`! | names of components, or lists: every combination |
//! | | `accelerator`, `ide` | `cpu`, `runtime` |
//! | | `exclude` | tables of these keys: combinations that are left out |
//! | | `max-size` | what each may weigh: `4 GB` |
//! | `[[waive]]` | `lint`!, `reason`! | a finding that is no concern |
//! | | `subject` | what it is about, a glob |
//!
//! ## Components
//!
//! All kinds have these keys:
//!
//! | table | key | meaning |
//! |---|---|---|
//! | | `title`, `description` | for people and labels |
//! | | `requirements` | Python requirements (PEP 508), each project once; no URLs |
//! | | `packages` | OS packages as Debian writes them: `libodbc2`, `libodbc2 (>= 2.3)` |
//! | | `python` | the Pythons that it goes with (PEP 440); not in bases |
//! | | `needs`, `provides`, `conflicts` | names of what else an image has, or has not |
//! | `[python-index.NAME]` | `projects`! | come from this source and from nowhere else; not in IDEs |
//! | `[[waive]]` | | as in `kiln.toml`, for images with it |
//! | `[env]` | NAME = value | environment; `${NAME}` is what NAME was in the components below and the lines before |
//! | `[labels]` | NAME = value | labels of the image |
//! | `[[file]]` | `source`! | a file below the component's own directory, or a directory with every file below it |
//! | | `to`! | where it goes: absolute, one spelling; once in an image |
//! | | `mode` | octal permission bits, `"0644"`; in a directory `"0755"` for what can be executed |
//! | | `owner` | `"root"`, `"user"` or `"uid:gid"`; the family's user below its prefix or home, else root |
//! | `[[run]]` | `command`! | changes the image when the files are there; exec form, the program with its whole path |
//! | | `user` | `"image"`, `"root"` |
//! | | `env` | NAME = value: environment of the command beside the image's |
//! | `[[run.artifact]]` | `to`! | where the command reads it |
//! | | `file` | a file below the component's own directory; or |
//! | | `source`, `path`, `sha256`, `size` | a file of a named source |
//! | `[winners]` | path = package | which package's file wins where several differ |
//! | `[from-source.PROJECT]` | | the Python project may be built from its source distribution |
//! | | `packages` | OS packages of the build environment, not of the image |
//! | | `requirements` | build requirements beside those that the project names |
//! | | `env` | NAME = value: environment of the build |
//!
//! Bases have `code`! (the `{os}` of image names), `distribution`! (`debian`, `ubuntu`), `suite`!,
//! `python`! (the version that its packages bring), and at least one `[[archive]]` with `source`!,
//! `suite` (the base's), `components` (`["main"]`), `keyring`! (a file in `keyrings/`) and
//! `check-valid-until` (true). Accelerators have `kind` (`cpu`, `cuda`, `rocm`, `tpu`, `mkl`), `code` (what
//! stands for it in image names; the kind), `[[archive]]` (with `bases`: those that it is for) and, of
//! kind `cuda`, `[cuda]` with `version`!, `flavour`! (`base`, `runtime`, `devel`), `cudnn` (false) and
//! `driver` (`major`, `minor`). Bundles have `extends`, `independent` (false) and `max-size`. IDEs have `command`! (exec form) and `port`; `runtime` has no command.
//!
//! [`schemas`] gives the same as JSON Schemas, for editors.
//!
//! # Invariants of a [`Family`] that [`parse`] made
//!
//! - Every component, file and keyring that is named exists; chains of `extends` end.
//! - No two images are the same combination or would have the same name; every name parses back.
//! - The components of every image go together: `python`, `needs`, `conflicts`.
//! - No two components of an image place a file at one path; no two components of images that
//!   differ in the IDE alone say how one project is built; every `${NAME}` was set before.

mod accelerator;
mod check;
mod combine;
mod component;
pub mod edit;
mod error;
mod family;
mod files;
mod from_source;
mod images;
mod matrix;
mod model;
mod name;
mod parse;
mod parts;
mod placed;
mod reader;
mod requirement;
mod rules;
mod run;
mod schema;
mod select;
mod size;
mod source;

pub use error::{RecipeError, RecipeErrors, near_names};
pub use files::{
    DIRECTORIES, FamilyFiles, MAX_DEPTH, MAX_FILE, MAX_FILES, MAX_TOTAL, RELEASES, ReadError,
    read_family, read_release, releases,
};
pub use model::*;
pub use name::{ImageName, MAX_NAME, NameError, NamePattern, PatternError, is_name_part};
pub use parse::parse;
pub use pep508_rs;
pub use requirement::{RequirementError, debian_package, is_bounded, python_requirement};
pub use schema::{Schema, schemas};
pub use select::{Candidate, SelectError, is_glob, select};
