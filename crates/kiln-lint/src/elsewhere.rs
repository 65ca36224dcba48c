//! Libraries that an image need not bring, and files that need what they can do without.

use kiln_package::elf::Dynamic;

/// Whether a library is a part of NVIDIA's driver. A container gets the host's; on an image
/// without CUDA, the package that needs it is a finding of its own.
pub(crate) fn is_of_host(library: &str) -> bool {
    const PREFIXES: [&str; 8] = [
        "libcuda.so",
        "libcudadebugger.so",
        "libnvcuvid.so",
        "libnvoptix.so",
        "libnvidia-",
        "libEGL_nvidia.so",
        "libGLX_nvidia.so",
        "libnvdla_",
    ];
    PREFIXES.iter().any(|prefix| library.starts_with(prefix))
}

/// Whether a file is made for another C library than that of the image: musl, or Android's.
pub(crate) fn is_of_other_system(dynamic: &Dynamic) -> bool {
    dynamic.needed.iter().any(|library| {
        library.starts_with("libc.musl-")
            || library.starts_with("ld-musl-")
            || matches!(library.as_str(), "libc.so" | "libdl.so" | "liblog.so")
    })
}

/// Files of wheels that their projects load only where they can be loaded, so that what they need
/// may be missing: wheel, file (the part of its name that does not vary), why.
const OPTIONAL: [(&str, &str, &str); 6] = [
    (
        "numba",
        "numba/np/ufunc/omppool",
        "one of three threading layers, tried in turn",
    ),
    (
        "numba",
        "numba/np/ufunc/tbbpool",
        "one of three threading layers, tried in turn",
    ),
    (
        "nvidia-cufile",
        "nvidia/cu13/lib/libcufile_rdma.so",
        "loaded where the node has RDMA, whose libraries come with its drivers",
    ),
    (
        "nvidia-cufile-cu12",
        "nvidia/cufile/lib/libcufile_rdma.so",
        "loaded where the node has RDMA, whose libraries come with its drivers",
    ),
    (
        "nvidia-nvshmem-cu13",
        "nvidia/nvshmem/lib/nvshmem_",
        "transports and bootstraps, of which the environment chooses",
    ),
    (
        "nvidia-nvshmem-cu12",
        "nvidia/nvshmem/lib/nvshmem_",
        "transports and bootstraps, of which the environment chooses",
    ),
];

/// Whether a file of a wheel is loaded only where it can be.
pub(crate) fn is_optional(wheel: &str, path: &str) -> bool {
    let mut files = OPTIONAL.iter();
    files.any(|(name, file, _)| *name == wheel && path.starts_with(file))
}
