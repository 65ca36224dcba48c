//! What an image says of its CUDA toolkit: environment and labels, computed from the accelerator
//! and from what is locked.
//!
//! The version that counts is that of the CUDA runtime among the image's packages, whoever brings
//! it: a framework decides the versions of its libraries. Where none is locked it is the
//! accelerator's.
//!
//! | variable | value |
//! |---|---|
//! | `NVIDIA_VISIBLE_DEVICES`, `NVIDIA_DRIVER_CAPABILITIES` | `all`, `compute,utility`: without them NVIDIA's runtime injects no driver |
//! | `NVIDIA_REQUIRE_CUDA` | what the driver must know, checked at the start of a container |
//! | `CUDA_VERSION` | the version that counts, `12.9` |
//! | `LD_LIBRARY_PATH` | flavours `runtime` and `devel`: where NVIDIA's wheels keep libraries |
//! | `CUDA_HOME`, `PATH` | flavour `devel`: the toolkit that has a compiler, or where it would be |
//!
//! # Where libraries are
//!
//! Wheels of CUDA 11 and 12 have a directory each, `nvidia/cublas/lib`; those of CUDA 13 share
//! `nvidia/cu13/lib`, but for libraries with versions of their own, which keep theirs. Frameworks
//! find them by paths that are built in. Programs that load a library by its name do not, so
//! images that promise libraries (`runtime`) name these directories. NVIDIA's OS packages tell the
//! dynamic linker by themselves.
//!
//! **A change of these rules changes images**: then `CUDA_RULES` in kiln-lock counts up, so that
//! dates move.

use kiln_lock::{Closure, Deb, Wheel};
use kiln_recipe::{Cuda, CudaDriver, CudaFlavour, CudaVersion, PythonVersion};

/// A variable of the environment that nobody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Whether it is a list of directories, which goes before what is there.
    pub(crate) is_path: bool,
}

/// Projects of NVIDIA that bring libraries, by the part of their names between `nvidia-` and
/// `-cu12`; their directories below `nvidia/` have `_` for `-`.
const LIBRARIES: [&str; 17] = [
    "cublas",
    "cuda-cupti",
    "cuda-nvrtc",
    "cuda-runtime",
    "cudnn",
    "cufft",
    "cufile",
    "curand",
    "cusolver",
    "cusparse",
    "cusparselt",
    "nccl",
    "npp",
    "nvjitlink",
    "nvjpeg",
    "nvshmem",
    "nvtx",
];

/// The environment of an image with a toolkit. `site` is where Python packages lie.
pub(crate) fn environment(cuda: &Cuda, site: &str, installed: &Closure<'_>) -> Vec<Variable> {
    let version = version(cuda, installed);
    let variable = |name, value: String| Variable {
        name,
        value,
        is_path: false,
    };
    let path = |name, value: String| Variable {
        name,
        value,
        is_path: true,
    };
    let mut variables = vec![
        variable("NVIDIA_VISIBLE_DEVICES", "all".to_owned()),
        variable("NVIDIA_DRIVER_CAPABILITIES", "compute,utility".to_owned()),
        variable("NVIDIA_REQUIRE_CUDA", requirement(version, cuda.driver)),
        variable("CUDA_VERSION", version.to_string()),
    ];
    if cuda.flavour == CudaFlavour::Devel {
        let home = home(cuda, site, installed);
        variables.push(path("PATH", format!("{home}/bin")));
        variables.push(variable("CUDA_HOME", home));
    }
    let directories = library_directories(site, installed);
    if cuda.flavour != CudaFlavour::Base && !directories.is_empty() {
        variables.push(path("LD_LIBRARY_PATH", directories.join(":")));
    }
    variables
}

/// The labels of an image with a toolkit.
pub(crate) fn labels(cuda: &Cuda, installed: &Closure<'_>) -> Vec<(&'static str, String)> {
    let mut labels = vec![(
        "com.nvidia.cuda.version",
        version(cuda, installed).to_string(),
    )];
    let wheels = installed.wheels.iter();
    let wheels = wheels.filter(|it| library(&it.name) == Some("cudnn"));
    let debs = installed.debs.iter();
    let debs = debs.filter(|it| it.name.starts_with("libcudnn") && !it.name.contains("-dev"));
    let versions = wheels.map(|it| it.version.as_str());
    let mut versions = versions.chain(debs.map(|it| it.upstream()));
    labels.extend(
        versions
            .next()
            .map(|it| ("com.nvidia.cudnn.version", it.to_owned())),
    );
    labels
}

/// Where Python packages lie.
pub(crate) fn site(prefix: &str, python: PythonVersion) -> String {
    format!("{prefix}/lib/python{python}/site-packages")
}

/// The version that counts.
fn version(cuda: &Cuda, installed: &Closure<'_>) -> CudaVersion {
    let wheels = installed.wheels.iter();
    let wheels = wheels.filter_map(|it| runtime_wheel(it));
    let debs = installed.debs.iter().filter_map(|it| runtime_deb(it));
    wheels.chain(debs).max().unwrap_or(cuda.version)
}

/// What NVIDIA's container runtime compares with the driver when a container starts: commas join
/// conditions.
fn requirement(version: CudaVersion, driver: CudaDriver) -> String {
    let CudaVersion { major, minor } = version;
    match (driver, major) {
        // Binaries run on every driver for their major version that is new enough to promise it,
        // which of CUDA 11's the first were not (NVIDIA, "CUDA Compatibility": 450.80.02).
        (CudaDriver::Major, 12..) => format!("cuda>={major}.0"),
        (CudaDriver::Major, 11) if minor > 0 => "cuda>=11.0,driver>=450.80.02".to_owned(),
        // There was no such promise before.
        _ => format!("cuda>={version}"),
    }
}

/// The version of the CUDA runtime that a wheel brings.
fn runtime_wheel(wheel: &Wheel) -> Option<CudaVersion> {
    (library(&wheel.name)? == "cuda-runtime").then(|| CudaVersion::leading(&wheel.version))?
}

/// The version of the CUDA runtime that an OS package brings: of NVIDIA's archive
/// (`cuda-cudart-12-9`) or of Debian's (`libcudart11.0`).
fn runtime_deb(deb: &Deb) -> Option<CudaVersion> {
    if let Some(numbers) = deb.name.strip_prefix("cuda-cudart-") {
        return CudaVersion::leading(&numbers.replace('-', "."))
            .filter(|it| numbers == format!("{}-{}", it.major, it.minor));
    }
    let rest = deb.name.strip_prefix("libcudart")?;
    let is_library = rest.starts_with(|c: char| c.is_ascii_digit());
    is_library.then(|| CudaVersion::leading(deb.upstream()))?
}

/// Which of [`LIBRARIES`] a project brings.
fn library(project: &str) -> Option<&'static str> {
    let rest = project.strip_prefix("nvidia-")?;
    let name = match rest.rsplit_once("-cu") {
        Some((name, major)) if is_number(major) => name,
        _ => rest,
    };
    LIBRARIES.into_iter().find(|it| *it == name)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// The directory of a wheel below `site-packages/nvidia`: its own, or the one that all of CUDA 13
/// and later share.
fn directory(wheel: &Wheel, shared: Option<&str>) -> Option<String> {
    let library = library(&wheel.name)?;
    let is_own = wheel
        .name
        .rsplit_once("-cu")
        .is_some_and(|(_, major)| is_number(major));
    if is_own {
        Some(library.replace('-', "_"))
    } else {
        shared.map(str::to_owned)
    }
}

/// The directory that wheels of CUDA 13 and later share, by the version of its runtime.
fn shared(installed: &Closure<'_>) -> Option<String> {
    let runtime = |it: &&Wheel| it.name == "nvidia-cuda-runtime";
    let wheel = installed.wheels.iter().copied().find(runtime)?;
    let version = CudaVersion::leading(&wheel.version)?;
    Some(format!("cu{}", version.major))
}

/// Where the image's wheels keep libraries of NVIDIA, each directory once.
fn library_directories(site: &str, installed: &Closure<'_>) -> Vec<String> {
    let shared = shared(installed);
    let wheels = installed.wheels.iter();
    let mut directories: Vec<_> = wheels
        .filter_map(|it| directory(it, shared.as_deref()))
        .map(|it| format!("{site}/nvidia/{it}/lib"))
        .collect();
    directories.sort();
    directories.dedup();
    directories
}

/// Where the toolkit with the compiler is: what NVIDIA's wheels of CUDA 13 and later share, or what
/// its OS packages install; where none is installed, as below a toolkit, where it would be. Wheels of
/// CUDA 12 bring no compiler.
fn home(cuda: &Cuda, site: &str, installed: &Closure<'_>) -> String {
    let has_compiler = installed
        .wheels
        .iter()
        .any(|it| it.name == "nvidia-cuda-nvcc");
    if has_compiler && let Some(shared) = shared(installed) {
        return format!("{site}/nvidia/{shared}");
    }
    let compilers = installed.debs.iter();
    let compilers = compilers.filter_map(|it| it.name.strip_prefix("cuda-nvcc-"));
    let versions = compilers.filter_map(|it| CudaVersion::leading(&it.replace('-', ".")));
    match versions.max() {
        Some(version) => format!("/usr/local/cuda-{version}"),
        None if cuda.version.major >= 13 => format!("{site}/nvidia/cu{}", cuda.version.major),
        None => format!("/usr/local/cuda-{}", cuda.version),
    }
}

#[cfg(test)]
mod tests {
    use kiln_digest::Digest;
    use kiln_lock::PackageId;
    use kiln_recipe::Location;

    use super::*;

    fn wheel(name: &str, version: &str) -> Wheel {
        Wheel {
            id: PackageId(format!("pypi/{name}")),
            name: name.to_owned(),
            version: version.to_owned(),
            source: "pypi".to_owned(),
            file: format!("{name}.whl"),
            size: 1,
            sha256: Digest::of(b""),
            requires: Vec::new(),
            built_from: None,
        }
    }

    fn deb(name: &str, version: &str) -> Deb {
        Deb {
            id: PackageId(format!("nvidia/{name}")),
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            source: "nvidia".to_owned(),
            suite: "bookworm".to_owned(),
            path: format!("{name}.deb"),
            size: 1,
            sha256: Digest::of(b""),
            essential: false,
            multi_arch_same: false,
            depends: Vec::new(),
        }
    }

    fn cuda(version: &str, flavour: CudaFlavour) -> Cuda {
        Cuda {
            version: CudaVersion::leading(version).unwrap(),
            flavour,
            cudnn: false,
            driver: CudaDriver::Major,
            at: Location {
                file: "accelerators/a.toml".to_owned(),
                line: 1,
                column: 1,
            },
        }
    }

    fn shown(cuda: &Cuda, wheels: &[Wheel], debs: &[Deb]) -> String {
        let installed = Closure {
            wheels: wheels.iter().collect(),
            debs: debs.iter().collect(),
        };
        let variables = environment(cuda, "/py", &installed).into_iter();
        let mut lines: Vec<_> = variables
            .map(|it| {
                let sign = if it.is_path { "=+" } else { "=" };
                format!("{}{sign}{}", it.name, it.value)
            })
            .collect();
        let labels = labels(cuda, &installed).into_iter();
        lines.extend(labels.map(|(name, value)| format!("{name}: {value}")));
        lines.join("\n")
    }

    #[test]
    fn without_packages_the_accelerator_says_the_version() {
        insta::assert_snapshot!(shown(&cuda("12.9", CudaFlavour::Devel), &[], &[]), @r"
            NVIDIA_VISIBLE_DEVICES=all
            NVIDIA_DRIVER_CAPABILITIES=compute,utility
            NVIDIA_REQUIRE_CUDA=cuda>=12.0
            CUDA_VERSION=12.9
            PATH=+/usr/local/cuda-12.9/bin
            CUDA_HOME=/usr/local/cuda-12.9
            com.nvidia.cuda.version: 12.9
        ");
    }

    #[test]
    fn wheels_of_cuda_12_have_a_directory_each_and_no_compiler() {
        let wheels = [
            wheel("numpy", "2.4.0"),
            wheel("nvidia-cublas-cu12", "12.8.4.1"),
            wheel("nvidia-cuda-nvcc-cu12", "12.8.93"),
            wheel("nvidia-cuda-nvrtc-cu12", "12.8.93"),
            wheel("nvidia-cuda-runtime-cu12", "12.8.90"),
            wheel("nvidia-cudnn-cu12", "9.10.2.21"),
            wheel("nvidia-ml-py", "13.0.0"),
        ];
        insta::assert_snapshot!(shown(&cuda("12.9", CudaFlavour::Devel), &wheels, &[]), @r"
            NVIDIA_VISIBLE_DEVICES=all
            NVIDIA_DRIVER_CAPABILITIES=compute,utility
            NVIDIA_REQUIRE_CUDA=cuda>=12.0
            CUDA_VERSION=12.8
            PATH=+/usr/local/cuda-12.9/bin
            CUDA_HOME=/usr/local/cuda-12.9
            LD_LIBRARY_PATH=+/py/nvidia/cublas/lib:/py/nvidia/cuda_nvrtc/lib:/py/nvidia/cuda_runtime/lib:/py/nvidia/cudnn/lib
            com.nvidia.cuda.version: 12.8
            com.nvidia.cudnn.version: 9.10.2.21
        ");
        let base = shown(&cuda("12.9", CudaFlavour::Base), &wheels, &[]);
        assert!(!base.contains("LD_LIBRARY_PATH"), "{base}");
    }

    #[test]
    fn wheels_of_cuda_13_share_a_directory_with_the_compiler() {
        let wheels = [
            wheel("nvidia-cublas", "13.1.0.3"),
            wheel("nvidia-cuda-nvcc", "13.0.88"),
            wheel("nvidia-cuda-runtime", "13.0.96"),
            wheel("nvidia-cudnn-cu13", "9.15.1.9"),
            wheel("nvidia-cufft", "12.0.0.61"),
            wheel("nvidia-nccl-cu13", "2.28.9"),
        ];
        insta::assert_snapshot!(shown(&cuda("13.0", CudaFlavour::Devel), &wheels, &[]), @r"
            NVIDIA_VISIBLE_DEVICES=all
            NVIDIA_DRIVER_CAPABILITIES=compute,utility
            NVIDIA_REQUIRE_CUDA=cuda>=13.0
            CUDA_VERSION=13.0
            PATH=+/py/nvidia/cu13/bin
            CUDA_HOME=/py/nvidia/cu13
            LD_LIBRARY_PATH=+/py/nvidia/cu13/lib:/py/nvidia/cudnn/lib:/py/nvidia/nccl/lib
            com.nvidia.cuda.version: 13.0
            com.nvidia.cudnn.version: 9.15.1.9
        ");
        let runtime = shown(&cuda("13.0", CudaFlavour::Runtime), &wheels, &[]);
        assert!(!runtime.contains("CUDA_HOME"), "{runtime}");
        assert!(runtime.contains("LD_LIBRARY_PATH"), "{runtime}");
    }

    #[test]
    fn os_packages_of_nvidia_bring_the_toolkit_to_usr_local() {
        let debs = [
            deb("cuda-cudart-11-8", "11.8.89-1"),
            deb("cuda-cudart-dev-11-8", "11.8.89-1"),
            deb("cuda-nvcc-11-8", "11.8.89-1"),
            deb("libcudnn8", "8.9.7.29-1+cuda11.8"),
        ];
        insta::assert_snapshot!(shown(&cuda("11.8", CudaFlavour::Devel), &[], &debs), @r"
            NVIDIA_VISIBLE_DEVICES=all
            NVIDIA_DRIVER_CAPABILITIES=compute,utility
            NVIDIA_REQUIRE_CUDA=cuda>=11.0,driver>=450.80.02
            CUDA_VERSION=11.8
            PATH=+/usr/local/cuda-11.8/bin
            CUDA_HOME=/usr/local/cuda-11.8
            com.nvidia.cuda.version: 11.8
            com.nvidia.cudnn.version: 8.9.7.29
        ");
        let debian = [deb("libcudart11.0", "11.8.89~11.8.0-5~deb12u1")];
        let text = shown(&cuda("11.4", CudaFlavour::Runtime), &[], &debian);
        assert!(text.contains("CUDA_VERSION=11.8\n"), "{text}");
    }

    #[test]
    fn of_two_runtimes_the_newer_counts() {
        let wheels = [
            wheel("nvidia-cuda-runtime", "13.0.96"),
            wheel("nvidia-cuda-runtime-cu12", "12.8.90"),
        ];
        let text = shown(&cuda("12.9", CudaFlavour::Runtime), &wheels, &[]);
        assert!(text.contains("NVIDIA_REQUIRE_CUDA=cuda>=13.0\n"), "{text}");
    }

    #[test]
    fn drivers_are_asked_for_what_nvidia_promises() {
        for (version, major, minor) in [
            ("10.2", "cuda>=10.2", "cuda>=10.2"),
            ("11.0", "cuda>=11.0", "cuda>=11.0"),
            ("11.8", "cuda>=11.0,driver>=450.80.02", "cuda>=11.8"),
            ("12.0", "cuda>=12.0", "cuda>=12.0"),
            ("12.9", "cuda>=12.0", "cuda>=12.9"),
            ("13.4", "cuda>=13.0", "cuda>=13.4"),
        ] {
            let version = CudaVersion::leading(version).unwrap();
            assert_eq!(requirement(version, CudaDriver::Major), major);
            assert_eq!(requirement(version, CudaDriver::Minor), minor);
        }
    }
}
