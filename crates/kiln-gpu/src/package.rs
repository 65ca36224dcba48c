//! Which packages belong to CUDA, and to which, by their names and versions.

use std::fmt;

use crate::Version;

/// A version of CUDA as far as a package tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cuda {
    /// 12
    pub major: u32,
    /// 6, where the package is for one minor version.
    pub minor: Option<u32>,
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "CUDA {}.{minor}", self.major),
            None => write!(f, "CUDA {}", self.major),
        }
    }
}

/// NVIDIA's wheels whose names say no version: since CUDA 13 they are those of the newest one.
/// Their versions are their own, so what they were first published for stands beside them.
const UNSUFFIXED: [&str; 13] = [
    "nvidia-cublas",
    "nvidia-cufft",
    "nvidia-cufile",
    "nvidia-curand",
    "nvidia-cusolver",
    "nvidia-cusparse",
    "nvidia-npp",
    "nvidia-nvfatbin",
    "nvidia-nvjitlink",
    "nvidia-nvjpeg",
    "nvidia-nvptxcompiler",
    "nvidia-nvtx",
    "nvidia-nvvm",
];
const FIRST_UNSUFFIXED: u32 = 13;

/// The CUDA that a wheel belongs to; nothing for wheels that need none, or do not tell.
///
/// Understood are NVIDIA's names (`nvidia-cublas-cu12`, `nvidia-cuda-runtime` 13.0), endings that
/// others use as well (`-cu12`, `-cuda12x`, `-cuda12-plugin`, `-cuda120`), and local versions
/// (`2.6.0+cu126`). `name` is normalised.
pub fn wheel_cuda(name: &str, version: &str) -> Option<Cuda> {
    local(version)
        .or_else(|| unsuffixed(name, version))
        .or_else(|| suffix(name))
}

/// `+cu126` → 12.6, `+cuda12.cudnn89` → 12. Behind `cu`, the last digit is the minor version:
/// `cu92` is 9.2. What would be a CUDA 1 is a major version alone: `cu12` is 12.
fn local(version: &str) -> Option<Cuda> {
    let (_, local) = version.split_once('+')?;
    let mut segments = local.split(['.', '-', '_']);
    let segment = segments.find(|it| it.starts_with("cu"))?;
    if segment.starts_with("cuda") {
        return major(segment);
    }
    let digits = segment.strip_prefix("cu")?;
    if !(2..=3).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (major, minor) = match digits.split_at(digits.len() - 1) {
        ("1", _) => (digits, ""),
        parts => parts,
    };
    Some(Cuda {
        major: major.parse().ok()?,
        minor: minor.parse().ok(),
    })
}

fn unsuffixed(name: &str, version: &str) -> Option<Cuda> {
    let of_cuda = name.strip_prefix("nvidia-cuda-").is_some_and(is_plain) || name == "cuda-toolkit";
    if of_cuda {
        // These have the version of the toolkit.
        let version = Version::prefix(version).filter(|it| it.major() >= FIRST_UNSUFFIXED)?;
        return Some(Cuda {
            major: version.major(),
            minor: Some(version.minor()),
        });
    }
    UNSUFFIXED.contains(&name).then_some(Cuda {
        major: FIRST_UNSUFFIXED,
        minor: None,
    })
}

/// Whether a name ends without a version of CUDA.
fn is_plain(name: &str) -> bool {
    suffix(&format!("x-{name}")).is_none()
}

/// `…-cu12`, `…-cuda12x`, `…-cuda120`, `…-cuda12-plugin`.
fn suffix(name: &str) -> Option<Cuda> {
    let parts = name.split('-').skip(1);
    parts.filter_map(major).last()
}

fn major(part: &str) -> Option<Cuda> {
    let digits = part.strip_prefix("cuda").or(part.strip_prefix("cu"))?;
    let digits = digits.strip_suffix('x').unwrap_or(digits);
    if !(2..=3).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (major, minor) = digits.split_at(2);
    Some(Cuda {
        major: major.parse().ok().filter(|major| *major >= 9)?,
        minor: minor.parse().ok(),
    })
}

/// The CUDA that a Debian package of NVIDIA's archive belongs to: `libcublas-12-4`,
/// `libcudnn9-cuda-12`, or any with `+cuda12.2` in its version.
pub fn deb_cuda(name: &str, version: &str) -> Option<Cuda> {
    if let Some((_, cuda)) = version.split_once("+cuda") {
        let version = Version::prefix(cuda)?;
        return Some(Cuda {
            major: version.major(),
            minor: Some(version.minor()),
        });
    }
    let number = |part: &str| part.parse::<u32>().ok();
    let parts: Vec<&str> = name.split('-').collect();
    match parts.as_slice() {
        [_, .., "cuda", major] => Some(Cuda {
            major: number(major)?,
            minor: None,
        }),
        [first, .., major, minor] if is_of_toolkit(first) => Some(Cuda {
            major: number(major).filter(|major| (8..100).contains(major))?,
            minor: Some(number(minor)?),
        }),
        _ => None,
    }
}

/// The first words of the names of the toolkit's packages.
fn is_of_toolkit(word: &str) -> bool {
    const WORDS: [&str; 14] = [
        "cuda",
        "gds",
        "libcublas",
        "libcufft",
        "libcufile",
        "libcurand",
        "libcusolver",
        "libcusparse",
        "libnpp",
        "libnvfatbin",
        "libnvjitlink",
        "libnvjpeg",
        "libnvvm",
        "nsight",
    ];
    WORDS.contains(&word)
}

/// Whether a Debian package is a part of NVIDIA's driver, which belongs to the host: a container
/// gets the host's from its runtime, and one of its own must not differ from that.
pub fn is_driver(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "libcuda1",
        "libcudadebugger1",
        "libnvcuvid1",
        "libnvoptix1",
        "nvidia-smi",
        "nvidia-modprobe",
        "nvidia-persistenced",
        "nvidia-legacy-check",
    ];
    const PREFIXES: [&str; 12] = [
        "cuda-drivers",
        "libcuda1-",
        "libnvidia-",
        "nvidia-alternative",
        "nvidia-dkms",
        "nvidia-driver",
        "nvidia-egl-",
        "nvidia-firmware",
        "nvidia-kernel",
        "nvidia-utils",
        "nvidia-vulkan-",
        "xserver-xorg-video-nvidia",
    ];
    // What makes a host ready for containers, and open components with versions of their own that
    // distributions build from source: no parts of a driver.
    const OTHERS: [&str; 3] = [
        "libnvidia-container",
        "libnvidia-egl-gbm",
        "libnvidia-egl-wayland",
    ];
    let is_other = OTHERS.iter().any(|prefix| name.starts_with(prefix));
    !is_other && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wheel(name: &str, version: &str) -> Option<String> {
        wheel_cuda(name, version).map(|it| it.to_string())
    }

    /// Names and versions of real wheels.
    #[test]
    fn wheels_tell_their_cuda() {
        for (name, version, cuda) in [
            ("nvidia-cublas-cu12", "12.6.4.1", Some("CUDA 12")),
            ("nvidia-nccl-cu11", "2.21.5", Some("CUDA 11")),
            ("nvidia-cudnn-cu13", "9.13.0.50", Some("CUDA 13")),
            ("nvidia-cublas", "13.0.0.19", Some("CUDA 13")),
            ("nvidia-cufft", "12.0.0.61", Some("CUDA 13")),
            ("nvidia-cuda-runtime", "13.0.48", Some("CUDA 13.0")),
            ("nvidia-cuda-nvcc", "13.1.80", Some("CUDA 13.1")),
            ("nvidia-cuda-runtime-cu12", "12.6.77", Some("CUDA 12")),
            ("nvidia-cuda-runtime", "0.0.1", None),
            ("cuda-toolkit", "13.0.2", Some("CUDA 13.0")),
            ("nvidia-dali-cuda120", "1.50.0", Some("CUDA 12.0")),
            ("cupy-cuda12x", "13.6.0", Some("CUDA 12")),
            ("jax-cuda12-plugin", "0.8.0", Some("CUDA 12")),
            ("cudf-cu12", "25.10.0", Some("CUDA 12")),
            ("torch", "2.6.0+cu126", Some("CUDA 12.6")),
            ("torch", "2.5.1+cu118", Some("CUDA 11.8")),
            ("torch", "1.7.1+cu92", Some("CUDA 9.2")),
            ("auto-gptq", "0.7.1+cu12", Some("CUDA 12")),
            ("demo", "1.0+cu11", Some("CUDA 11")),
            ("torch", "1.2.0+cu92", Some("CUDA 9.2")),
            ("torchvision", "0.21.0+cu126", Some("CUDA 12.6")),
            ("jaxlib", "0.4.20+cuda12.cudnn89", Some("CUDA 12")),
            ("torch", "2.6.0+cpu", None),
            ("torch", "2.6.0+rocm6.2.4", None),
            ("torch", "2.6.0", None),
            ("nvidia-ml-py", "13.580.65", None),
            ("numpy", "2.4.0", None),
            ("pycuda", "2025.1", None),
            ("accuracy-cu", "1", None),
        ] {
            assert_eq!(wheel(name, version).as_deref(), cuda, "{name} {version}");
        }
    }

    #[test]
    fn debs_tell_their_cuda() {
        for (name, version, cuda) in [
            ("libcublas-12-4", "12.4.5.8-1", Some("CUDA 12.4")),
            ("cuda-cudart-dev-12-4", "12.4.127-1", Some("CUDA 12.4")),
            ("cuda-nvcc-11-8", "11.8.89-1", Some("CUDA 11.8")),
            ("libcudnn9-cuda-12", "9.3.0.75-1", Some("CUDA 12")),
            ("libcudnn8", "8.9.7.29-1+cuda12.2", Some("CUDA 12.2")),
            ("libnccl2", "2.22.3-1+cuda12.5", Some("CUDA 12.5")),
            ("libstdc++6", "12.2.0-14", None),
            ("gcc-12-base", "12.2.0-14", None),
            ("linux-image-6-1", "6.1", None),
        ] {
            let found = deb_cuda(name, version).map(|it| it.to_string());
            assert_eq!(found.as_deref(), cuda, "{name} {version}");
        }
    }

    #[test]
    fn drivers_are_the_hosts() {
        for name in [
            "libcuda1",
            "nvidia-driver-550",
            "nvidia-driver",
            "libnvidia-compute-550",
            "libnvidia-ml1",
            "nvidia-utils-550-server",
            "nvidia-kernel-dkms",
            "nvidia-smi",
            "cuda-drivers-550",
            "xserver-xorg-video-nvidia-550",
        ] {
            assert!(is_driver(name), "{name}");
        }
        for name in [
            "cuda-compat-12-4",
            "cuda-cudart-12-4",
            "libnvidia-container1",
            "libnvidia-container-tools",
            "libnvidia-egl-wayland1",
            "libnvidia-egl-gbm1",
            "nvidia-cuda-toolkit",
            "nvtop",
            "libcublas-12-4",
        ] {
            assert!(!is_driver(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(name in "\\PC*", version in "\\PC*") {
            let _ = wheel_cuda(&name, &version);
            let _ = wheel_cuda(&name, &format!("1+cu{version}"));
            let _ = deb_cuda(&name, &version);
            let _ = is_driver(&name);
        }
    }
}
