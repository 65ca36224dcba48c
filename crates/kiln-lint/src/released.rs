//! Versions that were never released to go together: frameworks with CUDA, cuDNN, Python and each
//! other.

use std::collections::BTreeSet;

use kiln_gpu::{Known, Version, facts};
use kiln_lock::Wheel;
use kiln_recipe::Platform;

use crate::{
    Finding, Lint,
    cuda::{self, TENSORFLOW},
    image::Image,
};

const LINT: Lint = Lint::NeverReleased;

pub(crate) fn find(image: &Image<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let toolkit = image.toolkit();
    if let Some((version, at)) = &toolkit
        && facts().toolkit(version) == Known::Never
    {
        let reason = format!("there never was a CUDA {version}");
        let name = &image.locked.accelerator;
        found.push(Finding::at(LINT, name, (*at).clone(), reason));
    }
    if let Some(torch) = wheel(image, "torch") {
        found.extend(torch_build(image, torch));
        found.extend(torch_companions(image, torch));
    }
    if image.has_cuda() {
        found.extend(tensorflow(
            image,
            toolkit.as_ref().map(|(version, _)| version),
        ));
    }
    found.extend(cudnn(image));
    found
}

fn wheel<'a>(image: &Image<'a>, name: &str) -> Option<&'a Wheel> {
    image
        .closure
        .wheels
        .iter()
        .copied()
        .find(|it| it.name == name)
}

fn finding(image: &Image<'_>, wheel: &Wheel, reason: String) -> Finding {
    Finding::of(LINT, &wheel.name, image.origins.wheel(&wheel.name), reason)
}

/// Whether there is such a build of `PyTorch`. The tables are those of x86-64.
fn torch_build(image: &Image<'_>, torch: &Wheel) -> Option<Finding> {
    if image.locked.platform != Platform::LinuxAmd64 {
        return None;
    }
    let version = Version::prefix(&torch.version)?;
    let builds = facts().torch_builds(&version);
    let cuda = torch
        .version
        .contains("+cu")
        .then(|| kiln_gpu::wheel_cuda("torch", &torch.version));
    if let Some(cuda) = cuda.flatten() {
        let known = format!("{}.{}", cuda.major, cuda.minor?).parse().ok()?;
        if facts().torch(&version, &known) == Known::Never {
            let reason = format!("PyTorch {version} was never released for {cuda}");
            let released: Vec<_> = builds.iter().map(|it| it.cuda.to_string()).collect();
            let hint = format!(
                "PyTorch {version} was released for CUDA {}",
                released.join(", ")
            );
            let sure = facts().is_sure_of_torch(&version);
            return Some(finding(image, torch, reason).sure(sure).hint(hint));
        }
    }
    let row = facts().torch_line(&version).filter(|row| row.sure)?;
    wrong_python(image, &row.python).map(|python| {
        let [first, last] = &row.python;
        let reason = format!("PyTorch {version} was never released for Python {python}");
        let hint = format!("it was released for Python {first} to {last}");
        finding(image, torch, reason).hint(hint)
    })
}

/// The image's Python, when it is none of these.
fn wrong_python(image: &Image<'_>, [first, last]: &[Version; 2]) -> Option<String> {
    let python = image.locked.python.to_string();
    let version: Version = python.parse().ok()?;
    (version < *first || version > *last).then_some(python)
}

/// Whether torchvision and torchaudio are those of the same release.
fn torch_companions(image: &Image<'_>, torch: &Wheel) -> Vec<Finding> {
    let Some(version) = Version::prefix(&torch.version) else {
        return Vec::new();
    };
    let Some(row) = facts().torch_line(&version) else {
        return Vec::new();
    };
    let companions = [
        ("torchvision", &row.torchvision),
        ("torchaudio", &row.torchaudio),
    ];
    let wrong = companions.into_iter().filter_map(|(name, line)| {
        let (line, wheel) = (line.as_ref()?, wheel(image, name)?);
        let is = Version::prefix(&wheel.version)?;
        (is.line() != line.line()).then_some((wheel, line))
    });
    wrong
        .map(|(wheel, line)| {
            let reason = format!(
                "`{}` {} was never released for PyTorch {version}",
                wheel.name, wheel.version
            );
            let hint = format!("{line} is the one for PyTorch {version}");
            finding(image, wheel, reason).sure(row.sure).hint(hint)
        })
        .collect()
}

/// Whether TensorFlow finds the CUDA and the cuDNN that it was built for. Where the image has
/// none at all, it was not asked to run on a GPU.
fn tensorflow(image: &Image<'_>, toolkit: Option<&Version>) -> Vec<Finding> {
    let mut found = Vec::new();
    let tensorflow =
        image.closure.wheels.iter().find(|wheel| {
            TENSORFLOW.contains(&wheel.name.as_str()) && wheel.name != "tensorflow-cpu"
        });
    let Some(wheel) = tensorflow else {
        return found;
    };
    let version = Version::prefix(&wheel.version);
    let Some((version, row)) = version.and_then(|it| Some((it.clone(), facts().tensorflow(&it)?)))
    else {
        return found;
    };
    if let Some(python) = wrong_python(image, &row.python).filter(|_| row.sure) {
        let reason = format!("TensorFlow {version} was never released for Python {python}");
        let [first, last] = &row.python;
        let hint = format!("it was released for Python {first} to {last}");
        found.push(finding(image, wheel, reason).hint(hint));
    }
    let packages = cuda::packages(image);
    let majors: BTreeSet<u32> = packages
        .iter()
        .map(|it| it.cuda.major)
        .chain(toolkit.map(Version::major))
        .collect();
    if !majors.is_empty() && !majors.contains(&row.cuda.major()) {
        let there: Vec<_> = majors.iter().map(ToString::to_string).collect();
        let reason = format!(
            "TensorFlow {version} was built for CUDA {}, and the image has CUDA {}: it would \
             compute on the processor without a word",
            row.cuda,
            there.join(" and ")
        );
        let hint = format!("use an accelerator with CUDA {}", row.cuda.major());
        found.push(finding(image, wheel, reason).sure(row.sure).hint(hint));
    }
    let cudnn = packages.iter().find(|it| is_cudnn(it.name));
    if let Some(cudnn) = cudnn
        && let Some(is) = Version::prefix(cudnn.version)
        && is.major() != row.cudnn.major()
    {
        let reason = format!(
            "TensorFlow {version} was built for cuDNN {}, and `{}` is {}",
            row.cudnn, cudnn.name, cudnn.version
        );
        found.push(finding(image, wheel, reason).sure(row.sure));
    }
    found
}

fn is_cudnn(name: &str) -> bool {
    let wheel = name.strip_prefix("nvidia-cudnn");
    wheel.is_some_and(|rest| rest.is_empty() || rest.starts_with("-cu"))
        || name.strip_prefix("libcudnn").is_some_and(|rest| {
            let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            digits.is_empty() || digits.starts_with("-cuda")
        })
}

/// Whether cuDNN was made for the CUDA that it says.
fn cudnn(image: &Image<'_>) -> Vec<Finding> {
    let packages = cuda::packages(image).into_iter();
    packages
        .filter(|it| is_cudnn(it.name))
        .filter_map(|it| {
            let version = Version::prefix(it.version)?;
            if facts().cudnn(&version, it.cuda.major) != Known::Never {
                return None;
            }
            let reason = format!("cuDNN {} was never released for {}", it.version, it.cuda);
            let sure = facts().is_sure_of_cudnn(&version);
            Some(Finding::of(LINT, it.name, it.origin, reason).sure(sure))
        })
        .collect()
}
