//! Family files → [`Family`]: parsing, combination rules, image names.

mod model;
mod name;

pub use model::*;
pub use name::{ImageName, NamePattern};
pub use pep508_rs;
