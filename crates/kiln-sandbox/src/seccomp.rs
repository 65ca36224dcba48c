//! The filter of system calls (`seccomp(2)`) that commands run under.
//!
//! What a container has no use for is refused: calls that concern the machine, and those that
//! offer much of the kernel to attack. Most of it the kernel would refuse anyway, as commands
//! have no privileges outside their user namespace; the filter is the second wall. Calls that
//! are newer than this list do not exist for commands, so that results do not depend on the
//! kernel's age.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use libc::{c_long, sock_filter};

use crate::{
    owner_calls::{CHANGES, QUESTIONS},
    tree::Owners,
};

/// `AUDIT_ARCH_*` of the machine that this is compiled for (`linux/audit.h`).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// `removexattrat`, the newest call that was looked at for this list. The numbers of calls since
/// 424 are the same on all machines.
const NEWEST: u32 = 466;

/// Calls without a name in `libc`.
const SYS_STATMOUNT: c_long = 457;
const SYS_LISTMOUNT: c_long = 458;

/// Refused with `EPERM`, as a user without privileges would be.
const REFUSED: [c_long; 37] = [
    // mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // the machine
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // what leads around permissions, or is shared with the host
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
];

/// Looking into other processes. People debug; builds do not.
const TRACING: [c_long; 5] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
];

/// Waiting for the disk: these succeed and do nothing in jobs. What a job writes is captured or
/// thrown away at once, so none of it has to outlive the machine, and package managers ask for
/// thousands of syncs. What people run may write to volumes of the host, which must be synced.
/// (`msync` is not here: programs use its errors to find out what is mapped.)
const SYNCS: [c_long; 5] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
];

/// Said not to exist: programs then take another way.
const MISSING: [c_long; 7] = [
    // Its flags are in memory, where a filter cannot read them; the C library falls back to
    // `clone`.
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    SYS_STATMOUNT,
    SYS_LISTMOUNT,
];

/// Changes of the own ids: they succeed and do nothing where a single id is mapped.
const IDENTITIES: [c_long; 9] = [
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
];

/// Every kind of namespace that `clone` makes.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Offsets in `struct seccomp_data` (`linux/seccomp.h`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Instructions of the filter's machine (`linux/filter.h`).
const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// A filter, ready to be installed.
#[derive(Debug)]
pub(crate) struct Filter {
    program: Vec<sock_filter>,
    listens: bool,
}

impl Filter {
    /// The filter for commands whose owners are kept this way: those of people, or of a job.
    pub(crate) fn new(owners: Owners, people: bool) -> Self {
        let mut filter = Self {
            program: Vec::new(),
            listens: owners == Owners::Recorded,
        };
        filter.head();
        filter.each(&REFUSED, error(libc::EPERM));
        filter.each(&MISSING, error(libc::ENOSYS));
        if !people {
            filter.each(&TRACING, error(libc::EPERM));
            filter.each(&SYNCS, error(0));
        }
        #[cfg(target_arch = "x86_64")]
        filter.each(&[libc::SYS_iopl, libc::SYS_ioperm], error(libc::EPERM));
        filter.arguments();
        if owners == Owners::Recorded {
            filter.each(&CHANGES, libc::SECCOMP_RET_USER_NOTIF);
            filter.each(&QUESTIONS, libc::SECCOMP_RET_USER_NOTIF);
            filter.each(&IDENTITIES, error(0));
        }
        filter.add(RETURN, libc::SECCOMP_RET_ALLOW);
        filter
    }

    /// Ends programs of other machines, refuses calls that are too new; the call's number is
    /// loaded after it.
    fn head(&mut self) {
        self.add(LOAD, ARCH);
        self.branch(IF_EQUAL, ARCHITECTURE, 1, 0);
        self.add(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
        self.add(LOAD, NUMBER);
        // This refuses the x32 form of calls, too, whose numbers are large.
        self.branch(IF_GREATER, NEWEST, 0, 1);
        self.add(RETURN, error(libc::ENOSYS));
    }

    /// Refuses calls for one of their arguments.
    fn arguments(&mut self) {
        let refused = error(libc::EPERM);
        for kind in NAMESPACES.map(i32::cast_unsigned) {
            self.argument(libc::SYS_clone, 0, kind, kind, refused);
        }
        // Typing into the terminal that people have in front of them.
        for request in [0x5412, 0x541c] {
            self.argument(libc::SYS_ioctl, 1, u32::MAX, request, refused);
        }
        // Devices, of which overlayfs uses one itself.
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            self.argument(libc::SYS_mknodat, 2, libc::S_IFMT, kind, refused);
            #[cfg(target_arch = "x86_64")]
            self.argument(libc::SYS_mknod, 1, libc::S_IFMT, kind, refused);
        }
        // Sockets to the host of a virtual machine: network namespaces do not hold them back.
        let family = libc::AF_VSOCK.cast_unsigned();
        self.argument(
            libc::SYS_socket,
            0,
            u32::MAX,
            family,
            error(libc::EAFNOSUPPORT),
        );
    }

    /// Ends with `action` if the call is one of these.
    fn each(&mut self, calls: &[c_long], action: u32) {
        for &call in calls {
            self.branch(IF_EQUAL, number(call), 0, 1);
            self.add(RETURN, action);
        }
    }

    /// Ends with `action` if the call is this one and the lower half of its argument, masked, is
    /// this value.
    fn argument(&mut self, call: c_long, argument: u32, mask: u32, value: u32, action: u32) {
        self.branch(IF_EQUAL, number(call), 0, 5);
        // Both machines are little-endian.
        self.add(LOAD, ARGUMENTS + 8 * argument);
        self.add(AND, mask);
        self.branch(IF_EQUAL, value, 0, 1);
        self.add(RETURN, action);
        self.add(LOAD, NUMBER);
    }

    fn add(&mut self, code: u32, operand: u32) {
        self.branch(code, operand, 0, 0);
    }

    fn branch(&mut self, code: u32, operand: u32, if_true: u8, if_false: u8) {
        self.program.push(sock_filter {
            code: u16::try_from(code).unwrap_or(u16::MAX),
            jt: if_true,
            jf: if_false,
            k: operand,
        });
    }

    /// Puts this process and all that it starts under the filter. Gives the descriptor where
    /// calls wait for answers, if any do.
    #[expect(unsafe_code, reason = "system call")]
    pub(crate) fn install(&self) -> io::Result<Option<OwnedFd>> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len()).map_err(io::Error::other)?,
            filter: self.program.as_ptr().cast_mut(),
        };
        let flags = if self.listens {
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        } else {
            0
        };
        // SAFETY: the kernel copies the program, which lives; it does not write to it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        let descriptor = i32::try_from(result).map_err(io::Error::other)?;
        match descriptor {
            ..0 => Err(io::Error::last_os_error()),
            0 if !self.listens => Ok(None),
            // SAFETY: the kernel has just made it for us.
            listener => Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) })),
        }
    }
}

fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// The action that makes a call fail with this error, or succeed with 0.
fn error(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (number.cast_unsigned() & libc::SECCOMP_RET_DATA)
}
