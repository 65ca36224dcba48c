//! Which packages share a layer.

use kiln_digest::Digest;
use kiln_lock::{Deb, Wheel};

/// An archive of this many bytes or more has a layer of its own. An absolute rule: rankings
/// would shuffle layers when a size changes.
pub const OWN_LAYER: u64 = 8 << 20;

/// Engines and registries cope with 127 layers; this leaves room for what users add on top.
pub const MAX_LAYERS: usize = 100;

/// A package as the layer rule sees it.
pub(crate) trait Package {
    fn size(&self) -> u64;
    fn sha256(&self) -> Digest;
    /// The file name that goes into the action.
    fn file(&self) -> String;
}

impl Package for Deb {
    fn size(&self) -> u64 {
        self.size
    }

    fn sha256(&self) -> Digest {
        self.sha256
    }

    fn file(&self) -> String {
        self.path
            .rsplit('/')
            .next()
            .unwrap_or(&self.path)
            .to_owned()
    }
}

impl Package for Wheel {
    fn size(&self) -> u64 {
        self.size
    }

    fn sha256(&self) -> Digest {
        self.sha256
    }

    fn file(&self) -> String {
        self.file.clone()
    }
}

/// Splits packages into those with a layer of their own and the others, each in the given order.
pub(crate) fn split<'a, P: Package>(
    packages: &[&'a P],
    threshold: u64,
) -> (Vec<&'a P>, Vec<&'a P>) {
    packages
        .iter()
        .copied()
        .partition(|package| package.size() >= threshold)
}

/// The top-level directories that a suite has merged into `/usr`. Bookworm's debootstrap makes
/// links for every multilib directory of the architecture's family, from trixie on base-files
/// ships them and has dropped the 32-bit ones.
pub fn usr_merge(suite: &str) -> Vec<String> {
    let names: &[&str] = match suite {
        "bookworm" => &["bin", "sbin", "lib", "lib32", "lib64", "libx32"],
        _ => &["bin", "sbin", "lib", "lib64"],
    };
    names.iter().map(|&name| name.to_owned()).collect()
}
