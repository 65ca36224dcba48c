//! Why packages could not be configured.

use kiln_digest::Digest;
use kiln_layer::{EntryPath, ReadError};

use super::KeyStoreError;

/// Why packages could not be configured, apart from their scripts.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A layer below cannot be read.
    #[error("reading layer {diff_id}")]
    Layer {
        /// Its tar stream.
        diff_id: Digest,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A layer below is not the one that it should be.
    #[error("the file of layer {0} holds another layer")]
    OtherLayer(Digest),
    /// A package is configured in the layers below.
    #[error("package `{0}` is installed already in the layers below")]
    Installed(String),
    /// A package diverts a file that it ships, which only dpkg can unpack after that.
    #[error("package `{package}` diverts `{path}`, which it ships itself")]
    Diverted {
        /// The package.
        package: String,
        /// The path, absolute.
        path: String,
    },
    /// A key store of Java cannot be brought to a fixed time.
    #[error("normalising the key store `{path}`")]
    KeyStore {
        /// Where it is.
        path: EntryPath,
        /// Why.
        #[source]
        source: KeyStoreError,
    },
}

impl ConfigureError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layer { .. } | Self::OtherLayer(_) => Some(
                "`kiln store verify` drops what is damaged, and the next build makes it again"
                    .into(),
            ),
            Self::Diverted { package, .. } => Some(format!(
                "kiln must let dpkg install `{package}` and does not know it: please report this; \
                 until then leave the package out, or build with `--pack-only`"
            )),
            Self::Installed(_) | Self::KeyStore { .. } => None,
        }
    }
}
