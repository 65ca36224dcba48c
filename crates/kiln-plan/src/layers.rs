//! Which packages share a layer.

use kiln_digest::Digest;
use kiln_lock::{Deb, Wheel};

/// An archive of so many bytes or more has a layer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// A Debian package.
    pub deb: u64,
    /// A wheel.
    pub wheel: u64,
}

/// The rule. It is absolute: rankings would shuffle layers when a size changes. Wheels are updated
/// one by one, each at its own time, so that a fine cut saves those who pull a fourth of the bytes
/// of a year; the Debian packages of a base change seldom, and small ones are many.
pub const OWN_LAYER: Thresholds = Thresholds {
    deb: 8 << 20,
    wheel: 1 << 20,
};

impl Thresholds {
    /// Twice as large; none when no archive is as large as these are already.
    pub(crate) fn doubled(self) -> Option<Self> {
        (self.deb < 1 << 50).then_some(Self {
            deb: self.deb * 2,
            wheel: self.wheel * 2,
        })
    }
}

/// Engines and registries cope with 127 layers; this leaves room for what users add on top.
pub const MAX_LAYERS: usize = 100;

/// A package as the layer rule sees it.
pub(crate) trait Package {
    fn sha256(&self) -> Digest;
    /// The file name that goes into the action.
    fn file(&self) -> String;
}

impl Package for Deb {
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
    alone: impl Fn(&P) -> bool,
) -> (Vec<&'a P>, Vec<&'a P>) {
    packages.iter().copied().partition(|package| alone(package))
}

/// Whether a wheel's tags say that it holds programs or libraries that no Python of a certain
/// version is needed for (`-py3-none-manylinux_2_28_x86_64.whl`): then there is hardly a module in
/// it, however large it is, and a layer of compiled modules of its own would be next to empty.
pub(crate) fn is_mostly_binaries(file: &str) -> bool {
    // PEP 427: `…-{python}-{abi}-{platform}.whl`.
    let mut tags = file.trim_end_matches(".whl").rsplit('-');
    let (platform, abi) = (tags.next(), tags.next());
    abi == Some("none") && platform != Some("any")
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

/// Packages of a suite that dpkg itself must install, because running their scripts over packed
/// files gives something else than an installation: their `preinst` moves a file of another
/// package out of the way (dpkg-divert(1), `--rename`) and they ship one of the same name, which
/// would be moved instead. The list was made by reading the scripts of popular packages of
/// bookworm; configuring one that is missing here is an error, never a wrong system.
pub fn installed_by_dpkg(_suite: &str) -> &'static [&'static str] {
    &[
        "live-tools",        // update-initramfs
        "molly-guard",       // halt, reboot and their kin
        "postgresql-common", // pg_config, of which libpq-dev has another
        "sysvinit-core",     // manual pages of translations
        "zutils",            // zcat, zgrep and their kin, of which gzip has others
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_binaries_from_modules() {
        for (file, binaries) in [
            (
                "nvidia_cublas_cu12-12.8-py3-none-manylinux_2_27_x86_64.whl",
                true,
            ),
            ("torch-2.9.0-cp311-cp311-manylinux_2_28_x86_64.whl", false),
            (
                "cryptography-46.0.0-cp311-abi3-manylinux_2_34_x86_64.whl",
                false,
            ),
            ("botocore-1.44.0-py3-none-any.whl", false),
            ("x", false),
        ] {
            assert_eq!(is_mostly_binaries(file), binaries, "{file}");
        }
    }
}
