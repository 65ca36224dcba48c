//! Family files → [`Family`]: parsing, combination rules, image names.

mod check;
mod component;
mod error;
mod family;
mod files;
mod model;
mod name;
mod parse;
mod parts;
mod reader;
mod requirement;
mod select;
mod source;

pub use error::{RecipeError, RecipeErrors};
pub use files::{FamilyFiles, MAX_DEPTH, MAX_FILE, MAX_FILES, MAX_TOTAL, ReadError, read_family};
pub use model::*;
pub use name::{ImageName, MAX_NAME, NameError, NamePattern, PatternError, is_name_part};
pub use parse::parse;
pub use pep508_rs;
pub use select::{Candidate, SelectError, select};
