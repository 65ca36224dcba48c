//! How the C library's allocator keeps memory.

/// The smallest block that the system gives, and gets back, by itself.
#[cfg(target_env = "gnu")]
const OWN_MAPPING: libc::c_int = 128 << 10;

/// Makes freed memory go back to the system.
///
/// Left alone, glibc raises its threshold to the size of the largest block that was freed (32 MiB at
/// most), takes everything below that from up to eight arenas for each core, and rarely gives an
/// arena's memory back (mallopt(3)). The buffers of layers come and go with the steps, on any thread: a build of
/// two large images kept 290 MB that way, and 60 MB this way, in no more time.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arenas = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, OWN_MAPPING),
        (libc::M_TRIM_THRESHOLD, OWN_MAPPING),
        (libc::M_ARENA_MAX, arenas),
    ] {
        #[expect(unsafe_code, reason = "there is no safe binding")]
        // SAFETY: no other thread runs yet, and the parameters are plain numbers. What a libc does
        // not know it refuses, and then nothing changes.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

/// Other C libraries have no such parameters.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
