//! Rules about CUDA: packages for it where there is none, several versions of it, drivers.

use std::collections::{BTreeMap, BTreeSet};

use kiln_gpu::Cuda;
use kiln_lock::{Deb, Wheel};

use crate::{
    Finding, Lint, Origin,
    image::{Image, bytes},
};

pub(crate) fn find(image: &Image<'_>) -> Vec<Finding> {
    let mut found = drivers(image);
    found.extend(tensorflow(image));
    if image.has_cuda() {
        let home = image.toolkit().map(|(version, _)| version.major());
        found.extend(stacks(image, home));
    } else {
        found.extend(without_cuda(image));
    }
    found
}

/// A package that belongs to a version of CUDA.
pub(crate) struct OfCuda<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) size: u64,
    pub(crate) cuda: Cuda,
    pub(crate) origin: Option<&'a Origin>,
}

/// The packages of an image that belong to CUDA.
pub(crate) fn packages<'a>(image: &'a Image<'_>) -> Vec<OfCuda<'a>> {
    let wheels = image.closure.wheels.iter().filter_map(|wheel| {
        Some(OfCuda {
            name: &wheel.name,
            version: &wheel.version,
            size: wheel.size,
            cuda: kiln_gpu::wheel_cuda(&wheel.name, &wheel.version)?,
            origin: image.origins.wheel(&wheel.name),
        })
    });
    let debs = image.closure.debs.iter().filter_map(|deb| {
        Some(OfCuda {
            name: &deb.name,
            version: &deb.version,
            size: deb.size,
            cuda: kiln_gpu::deb_cuda(&deb.name, &deb.version)?,
            origin: image.origins.deb(&deb.name),
        })
    });
    wheels.chain(debs).collect()
}

fn drivers(image: &Image<'_>) -> Vec<Finding> {
    let is_driver = |deb: &&&Deb| kiln_gpu::is_driver(&deb.name);
    let drivers = image.closure.debs.iter().filter(is_driver);
    drivers
        .map(|deb| {
            let reason = format!(
                "`{}` is a part of NVIDIA's driver, which must be that of the host",
                deb.name
            );
            let origin = image.origins.deb(&deb.name);
            Finding::of(Lint::DriverInImage, &deb.name, origin, reason).hint(
                "leave it out: the container runtime mounts the host's driver; `cuda-compat-…` is \
                 what an image may bring for older drivers of data centres",
            )
        })
        .collect()
}

fn without_cuda(image: &Image<'_>) -> Vec<Finding> {
    let packages = packages(image).into_iter();
    packages
        .map(|package| {
            let reason = format!(
                "`{}` {} ({}) is made for {}, and the accelerator `{}` has none",
                package.name,
                package.version,
                bytes(package.size),
                package.cuda,
                image.locked.accelerator,
            );
            let lint = Lint::CudaInCpuImage;
            Finding::of(lint, package.name, package.origin, reason).hint(cpu_build(package.origin))
        })
        .collect()
}

/// How to get the same without CUDA.
fn cpu_build(origin: Option<&Origin>) -> String {
    let path = origin
        .map(|origin| origin.path.as_slice())
        .unwrap_or_default();
    let through = |name: &str| path.iter().any(|it| it == name);
    if through("torch") {
        return "take `torch` from an index of builds for CPUs (`[python-index.NAME]`), or waive it \
                with a reason"
            .to_owned();
    }
    let plain = [
        ("tensorflow", "tensorflow-cpu"),
        ("xgboost", "xgboost-cpu"),
        ("onnxruntime-gpu", "onnxruntime"),
    ];
    match plain.iter().find(|(name, _)| through(name)) {
        Some((name, other)) => format!(
            "`{other}` is `{name}` without CUDA; or waive it with a reason, if nothing loads it"
        ),
        None => {
            "use an accelerator of kind `cuda`, a build for CPUs, or waive it with a reason, if \
                 nothing loads it"
                .to_owned()
        }
    }
}

/// Packages for other versions of CUDA than that of the image: its accelerator's, else the one
/// that most bytes are for.
fn stacks(image: &Image<'_>, home: Option<u32>) -> Vec<Finding> {
    let packages = packages(image);
    let mut found = Vec::new();
    let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
    for package in &packages {
        *sizes.entry(package.cuda.major).or_default() += package.size;
    }
    let largest = sizes.iter().max_by_key(|(_, size)| **size);
    let Some(home) = home.or(largest.map(|(major, _)| *major)) else {
        return found;
    };
    for major in sizes.keys().filter(|major| **major != home) {
        let group: Vec<_> = packages
            .iter()
            .filter(|it| it.cuda.major == *major)
            .collect();
        let of_home = packages.iter().filter(|it| it.cuda.major == home);
        let beside = match names(of_home) {
            names if names.is_empty() => format!("on an accelerator with CUDA {home}"),
            names => format!("beside {names} for CUDA {home}"),
        };
        if let Some(head) = head(&group) {
            let foreign = names(group.iter().copied());
            let reason = format!("the image has {foreign} for CUDA {major} {beside}");
            found.push(
                Finding::of(Lint::TwoCudaStacks, head.name, head.origin, reason).hint(
                    "choose versions that are built for one CUDA, or put them into two images",
                ),
            );
        }
    }
    found.extend(builds(&packages));
    found
}

/// The wheels that load each other's libraries, which are those of one CUDA.
const TORCH: [&str; 4] = ["torch", "torchaudio", "torchtext", "torchvision"];

/// `PyTorch` and what is built with it say in their local versions for which minor version they
/// are built: all must say the same.
fn builds(packages: &[OfCuda<'_>]) -> Option<Finding> {
    let is_build = |it: &&OfCuda<'_>| {
        TORCH.contains(&it.name) && it.version.contains("+cu") && it.cuda.minor.is_some()
    };
    let builds: Vec<_> = packages.iter().filter(is_build).collect();
    let majors: BTreeSet<_> = builds.iter().map(|it| it.cuda.major).collect();
    let first = builds.first()?;
    let other = builds.iter().find(|it| it.cuda != first.cuda)?;
    // Different major versions are a finding already.
    if majors.len() > 1 {
        return None;
    }
    let reason = format!(
        "`{}` {} is built for {}, and `{}` {} for {}",
        other.name, other.version, other.cuda, first.name, first.version, first.cuda
    );
    Some(
        Finding::of(Lint::TwoCudaStacks, other.name, other.origin, reason)
            .hint("take both from one index of builds (`[python-index.NAME]`)"),
    )
}

/// The package that the family is nearest to.
fn head<'a, 'b>(group: &[&'b OfCuda<'a>]) -> Option<&'b OfCuda<'a>> {
    let distance = |it: &OfCuda<'_>| it.origin.map_or(usize::MAX, |origin| origin.path.len());
    group
        .iter()
        .copied()
        .min_by_key(|it| (distance(it), it.name))
}

/// `` `a`, `b` and 3 more ``.
fn names<'a, 'b: 'a>(packages: impl Iterator<Item = &'a OfCuda<'b>>) -> String {
    let names: Vec<_> = packages.map(|it| format!("`{}`", it.name)).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => name.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

/// The distributions that TensorFlow comes in.
pub(crate) const TENSORFLOW: [&str; 5] = [
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-gpu",
    "tensorflow-intel",
    "tensorflow-rocm",
];

fn tensorflow(image: &Image<'_>) -> Option<Finding> {
    let is_tensorflow = |wheel: &&&Wheel| TENSORFLOW.contains(&wheel.name.as_str());
    let wheels: Vec<_> = image.closure.wheels.iter().filter(is_tensorflow).collect();
    let is_old =
        |wheel: &&&&Wheel| wheel.version.starts_with("1.") || wheel.version.starts_with("0.");
    let old = wheels.iter().find(is_old)?;
    let new = wheels.iter().find(|wheel| !is_old(wheel))?;
    let reason = format!(
        "`{}` {} stands beside `{}` {}: both are the module `tensorflow`",
        old.name, old.version, new.name, new.version
    );
    let origin = image.origins.wheel(&old.name);
    Some(
        Finding::of(Lint::TensorFlow1And2, &old.name, origin, reason)
            .hint("put what needs TensorFlow 1 into a bundle of its own"),
    )
}
