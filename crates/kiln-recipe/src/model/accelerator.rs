//! What computes.

use std::fmt;

use super::{Archive, Component, Location};

/// What computes. `cpu` always exists.
#[derive(Debug, Clone)]
pub struct Accelerator {
    /// What it brings.
    pub component: Component,
    /// What it is.
    pub kind: AcceleratorKind,
    /// What stands for it in image names: `cuda`, `cuda12.devel`. `None` exactly for kind `cpu`.
    pub code: Option<String>,
    /// Its CUDA toolkit; there exactly for kind `cuda`.
    pub cuda: Option<Cuda>,
    /// Where OS packages come from besides the base's archives: those of this accelerator and of
    /// what stands on it. [`crate::Family::archives`] gives those that count for a base.
    pub archives: Vec<Archive>,
}

/// What an accelerator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AcceleratorKind {
    /// Nothing but the processor.
    Cpu,
    /// NVIDIA's CUDA.
    Cuda,
    /// AMD's `ROCm`.
    Rocm,
    /// Google's TPU.
    Tpu,
    /// Intel's Math Kernel Library.
    Mkl,
}

impl AcceleratorKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cuda, Self::Rocm, Self::Tpu, Self::Mkl];

    /// Its name in files: `cuda`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Tpu => "tpu",
            Self::Mkl => "mkl",
        }
    }
}

impl fmt::Display for AcceleratorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The CUDA toolkit of an accelerator: `[cuda]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuda {
    /// The toolkit's version.
    pub version: CudaVersion,
    /// How much of the toolkit there is.
    pub flavour: CudaFlavour,
    /// Whether cuDNN is there.
    pub cudnn: bool,
    /// Which drivers may run its images.
    pub driver: CudaDriver,
    /// Where it is declared.
    pub at: Location,
}

impl Cuda {
    /// The variables that its images have without saying so, which values may use.
    pub fn variables(&self) -> Vec<&'static str> {
        let mut names = vec![
            "NVIDIA_VISIBLE_DEVICES",
            "NVIDIA_DRIVER_CAPABILITIES",
            "NVIDIA_REQUIRE_CUDA",
            "CUDA_VERSION",
        ];
        if self.flavour == CudaFlavour::Devel {
            names.push("CUDA_HOME");
        }
        names
    }
}

/// A version of the CUDA toolkit, `12.9`. Ordered by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion {
    /// 12.
    pub major: u16,
    /// 9.
    pub minor: u16,
}

impl CudaVersion {
    /// The version that a text begins with: `12.9` or `12.9.79`. `None` where it is none.
    pub fn leading(text: &str) -> Option<Self> {
        let mut numbers = text.split('.');
        Some(Self {
            major: number(numbers.next()?)?,
            minor: number(numbers.next()?)?,
        })
    }
}

/// A number in its one spelling.
fn number(text: &str) -> Option<u16> {
    text.parse()
        .ok()
        .filter(|number: &u16| number.to_string() == text)
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How much of a CUDA toolkit there is, as NVIDIA's own images have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CudaFlavour {
    /// The CUDA runtime alone.
    Base,
    /// And the libraries that programs load.
    Runtime,
    /// And the compiler, headers and tools.
    Devel,
}

impl CudaFlavour {
    /// All flavours.
    pub const ALL: [Self; 3] = [Self::Base, Self::Runtime, Self::Devel];

    /// Its name in files: `devel`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Runtime => "runtime",
            Self::Devel => "devel",
        }
    }
}

impl fmt::Display for CudaFlavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which drivers may run an image with CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CudaDriver {
    /// Any for the toolkit's major version: NVIDIA's minor-version compatibility, which holds for
    /// binaries that were compiled for the GPU at hand.
    Major,
    /// One that knows the toolkit's minor version, as code needs that the driver compiles (PTX).
    Minor,
}

impl CudaDriver {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Major, Self::Minor];

    /// Its name in files: `major`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Major => "major",
            Self::Minor => "minor",
        }
    }
}
