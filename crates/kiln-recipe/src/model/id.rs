//! Kinds and names of components.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// An operating system with its Python.
    Base,
    /// What computes: cpu, cuda, …
    Accelerator,
    /// A set of libraries.
    Bundle,
    /// What starts when the image starts.
    Ide,
}

/// A component's kind and name, written `bundle/datascience`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentId {
    /// The kind.
    pub kind: ComponentKind,
    /// The name, unique within the kind.
    pub name: String,
}

impl ComponentId {
    /// Where its file is, relative to the family's directory: `bundles/datascience/bundle.toml`.
    pub fn file(&self) -> String {
        let name = &self.name;
        match self.kind {
            ComponentKind::Base => format!("bases/{name}.toml"),
            ComponentKind::Accelerator => format!("accelerators/{name}.toml"),
            ComponentKind::Bundle => format!("bundles/{name}/bundle.toml"),
            ComponentKind::Ide => format!("ides/{name}/ide.toml"),
        }
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Accelerator => "accelerator",
            Self::Bundle => "bundle",
            Self::Ide => "ide",
        })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl TryFrom<String> for ComponentId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| format!("`{text}` names no component"))?;
        let kind = match kind {
            "base" => ComponentKind::Base,
            "accelerator" => ComponentKind::Accelerator,
            "bundle" => ComponentKind::Bundle,
            "ide" => ComponentKind::Ide,
            _ => return Err(format!("`{kind}` is no kind of component")),
        };
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

impl From<ComponentId> for String {
    fn from(id: ComponentId) -> Self {
        id.to_string()
    }
}
