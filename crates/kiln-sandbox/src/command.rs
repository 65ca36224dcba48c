//! Starting a command in the sandbox: from init's copy of itself to `execve`.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Resource, pidfd_getfd, pidfd_open};

use crate::{Command, Limits, protocol::Failure, seccomp::Filter, sys, tree::Owners};

/// Docker's default set: the capabilities that commands have in their user namespace
/// (`linux/capability.h`).
const CAPABILITIES: [u32; 14] = [
    0,  // CAP_CHOWN
    1,  // CAP_DAC_OVERRIDE
    3,  // CAP_FOWNER
    4,  // CAP_FSETID
    5,  // CAP_KILL
    6,  // CAP_SETGID
    7,  // CAP_SETUID
    8,  // CAP_SETPCAP
    10, // CAP_NET_BIND_SERVICE
    13, // CAP_NET_RAW
    18, // CAP_SYS_CHROOT
    27, // CAP_MKNOD
    29, // CAP_AUDIT_WRITE
    31, // CAP_SETFCAP
];

/// Open files that a command may have; what Docker gives.
const OPEN_FILES: u64 = 1 << 20;

/// Where a command reads and prints.
#[derive(Clone, Copy)]
pub(crate) enum Terminal<'a> {
    /// Nothing to read; prints to this, in a session of its own; and has these channels.
    None(BorrowedFd<'a>, &'a [OwnedFd]),
    /// Those of this process.
    Inherited,
    /// Those of this process, with the command in the terminal's foreground.
    Foreground,
}

/// A command that runs.
pub(crate) struct Running {
    /// Its process.
    pub(crate) process: i32,
    /// Readable when it has ended.
    pub(crate) pidfd: OwnedFd,
    /// Where the kernel asks what calls are to give.
    pub(crate) listener: Option<OwnedFd>,
}

/// What the new process tells until it is the command.
const LISTENER: u8 = b'L';
const FAILED: u8 = b'F';

/// Starts a command.
pub(crate) fn start(
    command: &Command,
    terminal: Terminal<'_>,
    limits: &Limits,
    filter: &Filter,
    owners: Owners,
) -> Result<Running, Failure> {
    let fails = |reason: String| Failure::NotStarted {
        argv: command.argv.clone(),
        reason,
    };
    let image = Image::of(command).map_err(fails)?;
    let spawn = || -> io::Result<(i32, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        if let Some(process) = sys::fork()? {
            return Ok((process, ours));
        }
        let error = become_command(command, &image, terminal, limits, filter, owners, &theirs);
        let number = error.raw_os_error().unwrap_or(libc::EINVAL);
        // Nobody to tell if this fails.
        let _ = tell(&theirs, FAILED, number);
        sys::exit(127)
    };
    let (process, told) = spawn().map_err(|error| fails(error.to_string()))?;
    let watch = || -> io::Result<Running> {
        let id = Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(id, PidfdFlags::empty())?;
        let mut listener = None;
        while let Some((kind, number)) = hear(&told)? {
            if kind == FAILED {
                sys::wait_for(process)?;
                return Err(io::Error::from_raw_os_error(number));
            }
            listener = Some(pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty())?);
            (&told).write_all(&[0])?;
        }
        Ok(Running {
            process,
            pidfd,
            listener,
        })
    };
    watch().map_err(|error| fails(error.to_string()))
}

fn tell(mut to: &UnixStream, kind: u8, number: i32) -> io::Result<()> {
    let mut message = vec![kind];
    message.extend(number.to_le_bytes());
    to.write_all(&message)
}

fn hear(mut from: &UnixStream) -> io::Result<Option<(u8, i32)>> {
    let mut message = [0; 5];
    match from.read_exact(&mut message) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => {
            let [kind, number @ ..] = message;
            Ok(Some((kind, i32::from_le_bytes(number))))
        }
    }
}

/// What `execve` takes.
struct Image {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    fn of(command: &Command) -> Result<Self, String> {
        let string =
            |text: &str| CString::new(text).map_err(|_| "an argument has a NUL byte".to_owned());
        let argv0 = command.argv.first().ok_or("there is no program")?;
        let program =
            find(argv0, command).ok_or_else(|| format!("there is no program `{argv0}`"))?;
        Ok(Self {
            program: string(&program)?,
            argv: command
                .argv
                .iter()
                .map(|text| string(text))
                .collect::<Result<_, _>>()?,
            env: command
                .env
                .iter()
                .map(|(name, value)| string(&format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The program's path: a name without a slash is looked for in the command's own `PATH`.
fn find(program: &str, command: &Command) -> Option<String> {
    if program.contains('/') {
        return Some(program.to_owned());
    }
    let (_, path) = command.env.iter().find(|(name, _)| name == "PATH")?;
    path.split(':')
        .map(|directory| format!("{directory}/{program}"))
        .find(|path| Path::new(path).is_file())
}

/// Turns this process into the command; comes back only with what went wrong.
fn become_command(
    command: &Command,
    image: &Image,
    terminal: Terminal<'_>,
    limits: &Limits,
    filter: &Filter,
    owners: Owners,
    told: &UnixStream,
) -> io::Error {
    let prepare = || -> io::Result<()> {
        take_terminal(terminal)?;
        rustix::process::chdir(&*command.cwd)?;
        sys::close_on_exec_from(3)?;
        if let Terminal::None(_, channels) = terminal {
            for channel in channels {
                rustix::io::fcntl_setfd(channel, rustix::io::FdFlags::empty())?;
            }
        }
        set_limits(limits)?;
        sys::fix_addresses();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(command.umask));
        let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?
            .trim()
            .parse()
            .map_err(io::Error::other)?;
        for capability in (0..=last).filter(|capability| !CAPABILITIES.contains(capability)) {
            sys::drop_from_bounding_set(capability)?;
        }
        // Now, as a filter wants privileges that other users do not have.
        if let Some(listener) = filter.install()? {
            // Init fetches it. Commands cannot look in, as they have fewer capabilities.
            sys::set_dumpable(true)?;
            tell(told, LISTENER, listener.as_raw_fd())?;
            let mut heard = told;
            heard.read_exact(&mut [0])?;
        }
        if owners == Owners::Mapped {
            sys::set_ids(command.uid, command.gid)?;
        }
        for signal in [
            libc::SIGPIPE,
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGTTOU,
        ] {
            sys::set_signal(signal, false);
        }
        Ok(())
    };
    if let Err(error) = prepare() {
        return error;
    }
    let ended = |strings: &[CString]| -> Vec<_> {
        strings
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    sys::execve(&image.program, &ended(&image.argv), &ended(&image.env))
}

fn take_terminal(terminal: Terminal<'_>) -> io::Result<()> {
    match terminal {
        Terminal::None(output, _) => {
            rustix::process::setsid()?;
            rustix::stdio::dup2_stdin(File::open("/dev/null")?.as_fd())?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(output)?;
        }
        Terminal::Inherited => {}
        Terminal::Foreground => {
            rustix::process::setpgid(None, None)?;
            // Who is not in the foreground is stopped for this call unless it is ignored.
            sys::set_signal(libc::SIGTTOU, true);
            rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid())?;
        }
    }
    Ok(())
}

/// Limits of the kernel behind those that init watches: they stop what is faster than init.
fn set_limits(limits: &Limits) -> io::Result<()> {
    sys::lower_limit(Resource::Core, 0)?;
    sys::lower_limit(Resource::Fsize, limits.disk)?;
    sys::lower_limit(Resource::Nofile, OPEN_FILES)?;
    sys::lower_limit(Resource::Nproc, limits.processes)
}
