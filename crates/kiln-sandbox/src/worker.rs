//! The worker: what runs in the user namespace of a sandbox.

use std::{
    io,
    os::{
        fd::{AsFd as _, FromRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use crate::{
    Job, LayerBlob, Limits, NetworkMode,
    init::{self, End, Setup, Work},
    mounts, namespaces,
    protocol::{
        self, CHANNELS_FD, CONTROL_FD, Failure, Go, OUTPUT_FD, Place, Reply, Request, SPOOL_FD,
        Task,
    },
    sys,
    tree::{
        Capture, Changes, LayerTree, Owners, Rootfs, Snapshot, Spool, Tree, capture, copy_layers,
        remove_tree,
    },
};

/// The name of the machine that jobs see.
const HOSTNAME: &str = "kiln";

/// What the worker's process does instead of its `main`, and the exit status to end with. The
/// first argument of the process is `sandbox-worker`, and kiln's end of a socket is at the other
/// end of its descriptor 3.
pub fn worker_main() -> i32 {
    let Some(control) = inherited(CONTROL_FD) else {
        return 2;
    };
    let control = UnixStream::from(control);
    match serve(&control) {
        Ok(()) => 0,
        Err(_) => 1, // kiln is gone, and nobody to tell
    }
}

fn serve(control: &UnixStream) -> io::Result<()> {
    let Some(request) = protocol::receive::<Request>(control)? else {
        return Ok(());
    };
    // What the terminal says concerns the program in the sandbox, not us.
    for signal in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGQUIT,
        libc::SIGHUP,
        libc::SIGTSTP,
    ] {
        sys::set_signal(signal, true);
    }
    if let Err(failure) = namespaces::enter_user() {
        return protocol::send(control, &Reply::Failed(failure));
    }
    protocol::send(control, &Reply::Unshared)?;
    if protocol::receive::<Go>(control)?.is_none() {
        return Ok(());
    }
    let reply = match perform(&request, control) {
        Ok(reply) => reply,
        Err(failure) => Reply::Failed(failure),
    };
    protocol::send(control, &reply)
}

fn perform(request: &Request, control: &UnixStream) -> Result<Reply, Failure> {
    namespaces::become_root(request.owners)?;
    namespaces::die_with_parent()?;
    let parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    if parent.map(i32::unsigned_abs) != Some(request.parent) {
        return Err(Failure::setup("serve")("kiln is gone"));
    }
    match &request.task {
        Task::Probe(directory) => probe(directory).map(Reply::Overlay),
        Task::Run {
            job,
            place,
            channels,
        } => {
            let channels: Option<Vec<_>> = (0..*channels)
                .map(|number| inherited(CHANNELS_FD + number))
                .collect();
            let channels =
                channels.ok_or_else(|| Failure::setup("find the channels")("one is closed"))?;
            run(request, job, place, channels, control).map(Reply::Captured)
        }
        Task::Start {
            program,
            place,
            binds,
            terminal,
        } => {
            namespaces::enter_others(program.network, &program.hostname)?;
            let layers = unpack_telling(&rootfs(request)?, &program.layers, control)?;
            let ground = Ground::prepare(place, &layers, request.owners)?;
            protocol::send(control, &Reply::Started).map_err(Failure::setup("tell kiln"))?;
            let end = Ground::init(&Setup {
                tree: &ground.tree,
                written: &ground.written,
                owners: request.owners,
                limits: people(),
                binds,
                volumes: &program.volumes,
                read_only: program.read_only,
                work: Work::Program {
                    command: &program.command,
                    foreground: *terminal,
                },
                control: control.as_fd(),
                output: None,
                channels: &[],
                worker: control.as_fd(),
            })?;
            ground.leave()?;
            match end {
                End::Ended(status) => Ok(Reply::Ended(status)),
                End::Failed(failure) => Err(failure),
                End::Done { .. } => Err(Failure::setup("run the program")("it was not run")),
            }
        }
        Task::Unpack(layers) => {
            unpack_telling(&rootfs(request)?, layers, control)?;
            Ok(Reply::Unpacked)
        }
        Task::Receive => {
            let stream = inherited(CHANNELS_FD)
                .ok_or_else(|| Failure::setup("find the layer")("it is closed"))?;
            let diff_id = rootfs(request)?.receive(std::fs::File::from(stream))?;
            Ok(Reply::Received(diff_id))
        }
        Task::Remove(paths) => {
            for path in paths {
                remove_tree(path)?;
            }
            Ok(Reply::Removed)
        }
    }
}

/// Whether overlayfs can be mounted here.
fn probe(directory: &Path) -> Result<bool, Failure> {
    namespaces::enter_others(NetworkMode::None, HOSTNAME)?;
    let lower = directory.join("layer");
    make_directory(&lower)?;
    for name in ["upper", "work", "tree"] {
        make_directory(&directory.join(name))?;
    }
    let mounted = mounts::mount_overlay(&[lower], directory);
    if let Ok(tree) = &mounted {
        mounts::detach(tree)?;
    }
    Ok(mounted.is_ok())
}

fn run(
    request: &Request,
    job: &Job,
    place: &Place,
    channels: Vec<OwnedFd>,
    control: &UnixStream,
) -> Result<Changes, Failure> {
    let output = inherited(OUTPUT_FD).ok_or_else(|| Failure::setup("find the output")("closed"))?;
    let spool = inherited(SPOOL_FD).ok_or_else(|| Failure::setup("find the spool")("closed"))?;
    namespaces::enter_others(NetworkMode::None, HOSTNAME)?;
    let rootfs = rootfs(request)?;
    let layers = unpack(&rootfs, &job.layers)?;
    let compare = match &job.compare {
        Some(compare) => Some(unpack(&rootfs, compare)?),
        None => None,
    };
    let ground = Ground::prepare(place, &layers, request.owners)?;
    let end = Ground::init(&Setup {
        tree: &ground.tree,
        written: &ground.written,
        owners: request.owners,
        limits: job.limits,
        binds: &job.binds,
        volumes: &[],
        read_only: false,
        work: Work::Steps(&job.steps),
        control: control.as_fd(),
        output: Some(output.as_fd()),
        channels: &channels,
        worker: control.as_fd(),
    })?;
    drop(channels);
    ground.leave()?;
    let (symlinks, mount_points) = match end {
        End::Done {
            symlinks,
            mount_points,
        } => (symlinks, mount_points),
        End::Failed(failure) => return Err(failure),
        End::Ended(_) => return Err(Failure::setup("run the job")("it was not run")),
    };
    let mut spool = Spool::new(spool.into()).map_err(Failure::setup("open the spool"))?;
    let changes = capture(
        &Capture {
            layers: &layers,
            compare: compare.as_deref(),
            tree: ground.captured(),
            owners: request.owners,
            symlinks: &symlinks,
            prefixes: &job.capture,
            mount_points: &mount_points,
        },
        &mut spool,
    )?;
    remove_tree(&place.directory)?;
    Ok(changes)
}

/// People may use what the machine has.
fn people() -> Limits {
    Limits {
        time: std::time::Duration::MAX,
        memory: 0, // no limit
        processes: u64::MAX,
        disk: u64::MAX,
        output: u64::MAX,
    }
}

fn rootfs(request: &Request) -> Result<Rootfs, Failure> {
    Ok(Rootfs::open(
        &request.rootfs,
        &request.label,
        request.owners,
    )?)
}

fn unpack(rootfs: &Rootfs, layers: &[LayerBlob]) -> Result<Vec<LayerTree>, Failure> {
    layers
        .iter()
        .map(|layer| Ok(rootfs.layer(layer)?))
        .collect()
}

/// Unpacks layers for people, who wait for it: kiln is told how far it is, if there is anything to
/// do.
fn unpack_telling(
    rootfs: &Rootfs,
    layers: &[LayerBlob],
    control: &UnixStream,
) -> Result<Vec<LayerTree>, Failure> {
    let missing: Vec<_> = layers.iter().filter(|layer| !rootfs.has(layer)).collect();
    let all = missing.len();
    for (done, layer) in missing.into_iter().enumerate() {
        let reply = Reply::Unpacking { done, all };
        protocol::send(control, &reply).map_err(Failure::setup("tell kiln"))?;
        rootfs.layer(layer)?;
    }
    if all > 0 {
        let reply = Reply::Unpacking { done: all, all };
        protocol::send(control, &reply).map_err(Failure::setup("tell kiln"))?;
    }
    unpack(rootfs, layers)
}

/// The tree of a task, mounted.
struct Ground {
    /// The mount.
    tree: PathBuf,
    /// Where changes are written: the upper directory, or the copy.
    written: PathBuf,
    /// What a copy was before.
    snapshot: Option<Snapshot>,
}

impl Ground {
    fn prepare(place: &Place, layers: &[LayerTree], owners: Owners) -> Result<Self, Failure> {
        let scratch = &place.directory;
        let tree = scratch.join("tree");
        if place.overlay {
            let (upper, work) = (scratch.join("upper"), scratch.join("work"));
            if place.resumed {
                // The one of the earlier mount would be refused.
                remove_tree(&work)?;
            } else {
                make_directory(&upper)?;
                make_directory(&tree)?;
            }
            make_directory(&work)?;
            let lower: Vec<_> = layers.iter().map(|layer| layer.path.clone()).collect();
            mounts::mount_overlay(&lower, scratch)?;
            return Ok(Self {
                tree,
                written: upper,
                snapshot: None,
            });
        }
        let mut snapshot = None;
        if !place.resumed {
            make_directory(&tree)?;
            snapshot = Some(copy_layers(layers, &tree, owners)?);
        }
        mounts::mount_on_itself(&tree)?;
        Ok(Self {
            written: tree.clone(),
            tree,
            snapshot,
        })
    }

    /// Runs init and waits for its end.
    fn init(setup: &Setup<'_>) -> Result<End, Failure> {
        let (ours, theirs) = UnixStream::pair().map_err(Failure::setup("reach init"))?;
        let child = sys::fork().map_err(Failure::setup("start init"))?;
        let Some(child) = child else {
            drop(ours);
            let setup = Setup {
                worker: theirs.as_fd(),
                ..*setup
            };
            // A panic must not go on here as if this were the worker.
            let status = catch_unwind(AssertUnwindSafe(|| {
                let end = init::run(&setup);
                i32::from(protocol::send(&theirs, &end).is_err())
            }));
            sys::exit(status.unwrap_or(101));
        };
        drop(theirs);
        let end = protocol::receive(&ours);
        let status = sys::wait_for(child).map_err(Failure::setup("wait for init"))?;
        match end {
            Ok(Some(end)) => Ok(end),
            _ => Err(Failure::setup("run init")(format!(
                "it ended without a word, with status {status}"
            ))),
        }
    }

    /// Unmounts the tree, so that what is below it can be read and removed.
    fn leave(&self) -> Result<(), Failure> {
        mounts::detach(&self.tree)
    }

    fn captured(&self) -> Tree<'_> {
        match &self.snapshot {
            Some(snapshot) => Tree::Copy {
                directory: &self.tree,
                snapshot,
            },
            None => Tree::Overlay {
                upper: &self.written,
            },
        }
    }
}

/// Makes a directory as the root of a tree is: layers do not say what it is like.
fn make_directory(path: &Path) -> Result<(), Failure> {
    let make = || -> io::Result<()> {
        std::fs::create_dir(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        crate::steps::set_time(path)
    };
    make().map_err(Failure::setup(format!("make `{}`", path.display())))
}

/// A descriptor that kiln gave this process.
#[expect(unsafe_code, reason = "descriptors by number")]
fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: asking for the flags of any number is allowed.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and this is the only place that takes it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // It is for nobody else.
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(descriptor)
}
