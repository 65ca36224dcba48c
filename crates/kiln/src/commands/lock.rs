//! `kiln lock`: choosing and pinning every byte.

use std::{
    fmt::Write as _,
    io::Write,
    sync::{Mutex, OnceLock},
    time::Instant,
};

use kiln_fetch::Fetcher;
use kiln_lock::{Lock, moves::Move};
use kiln_resolve::{Event, Options, resolve};
use kiln_store::Store;
use serde_json::json;

use crate::{
    args::{self, Global},
    error::Failure,
    exit,
    lints::{Download, Linter},
    output::{Output, count},
    project::{self, Project},
    wheels::WheelBuilder,
    whole_file,
};

/// The most bytes of archives that are downloaded only to be looked at. A build downloads them as
/// well; but a lock of many gigabytes should not have to wait for them.
const LOOK_AT: u64 = 500_000_000;

pub(crate) fn run(args: &args::Lock, global: &Global, output: &Output) -> Result<(), Failure> {
    let project = Project::open(global)?;
    if args.check {
        return check(&project, output);
    }
    let (store, fetcher) = (project::store(global)?, project.fetcher(global)?);
    let tools = Tools {
        store: &store,
        fetcher: &fetcher,
        offline: global.offline,
        output,
    };
    let mut options = tools.options();
    options.upgrade = args.upgrade;
    options.relock_gone = args.relock_gone;
    options.exclude_newer.clone_from(&args.exclude_newer);
    let may_move = args.allow_moves || args.upgrade || args.relock_gone;
    let moves = if may_move {
        Moves::Allowed
    } else {
        Moves::Refused
    };
    let (lock, changed) = update(&project, &tools, &options, moves)?;
    if args.no_lint {
        return Ok(());
    }
    tools.lint(&project, &lock, changed)
}

/// What a family is locked with.
pub(crate) struct Tools<'a> {
    pub(crate) store: &'a Store,
    pub(crate) fetcher: &'a Fetcher,
    /// Whether no connection may be opened.
    pub(crate) offline: bool,
    pub(crate) output: &'a Output,
}

/// Whether images may move that a change does not concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    Allowed,
    Refused,
}

/// Moves the locked packages that their sources no longer have.
pub(crate) fn relock_gone(
    project: &Project,
    store: &Store,
    fetcher: &Fetcher,
    global: &Global,
    output: &Output,
) -> Result<(), Failure> {
    let tools = Tools {
        store,
        fetcher,
        offline: global.offline,
        output,
    };
    let mut options = tools.options();
    options.relock_gone = true;
    update(project, &tools, &options, Moves::Allowed).map(|_| ())
}

impl Tools<'_> {
    /// Options that keep what did not change.
    pub(crate) fn options(&self) -> Options {
        let now = jiff::Timestamp::now();
        Options {
            upgrade: false,
            relock_gone: false,
            offline: self.offline,
            today: now.to_zoned(jiff::tz::TimeZone::UTC).date(),
            now,
            exclude_newer: None,
            cache_dir: self.store.root().join("resolve"),
            downloads_dir: self.store.downloads_dir(),
        }
    }

    /// The lock of a family, which is not written yet.
    pub(crate) fn choose(
        &self,
        project: &Project,
        previous: Option<&Lock>,
        options: &Options,
        moves: Moves,
    ) -> Result<Lock, Failure> {
        let events = |event| {
            let Some(text) = say(&event) else { return };
            if self.output.is_json() {
                self.output
                    .json(&json!({"event": "resolving", "what": text}));
            } else {
                self.output.note(text);
            }
        };
        let builder = WheelBuilder {
            project,
            store: self.store,
            fetcher: self.fetcher,
            output: self.output,
            one: Mutex::default(),
            cancelled: OnceLock::new(),
        };
        let lock = resolve(
            &project.family,
            previous,
            self.fetcher,
            options,
            &builder,
            &events,
        )?;
        if let (Moves::Refused, Some(previous)) = (moves, previous) {
            refuse_moves(&kiln_lock::moves(previous, &lock), self.output)?;
        }
        Ok(lock)
    }

    /// Looks for what is wrong with the images of a lock.
    pub(crate) fn lint(
        &self,
        project: &Project,
        lock: &Lock,
        changed: bool,
    ) -> Result<(), Failure> {
        let linter = Linter {
            project,
            store: self.store,
            fetcher: self.fetcher,
            output: self.output,
            // A lock that did not change was looked at when it did.
            download: if changed {
                Download::UpTo(LOOK_AT)
            } else {
                Download::Nothing
            },
            offline: self.offline || !changed,
        };
        linter.run(lock, &lock.images.iter().collect::<Vec<_>>())
    }
}

fn check(project: &Project, output: &Output) -> Result<(), Failure> {
    match project.fitting_lock() {
        Ok(_) => {
            output.note("the lock fits the family");
            Ok(())
        }
        Err(failure) if failure.code == exit::RECIPE => Err(Failure {
            code: exit::NEGATIVE,
            ..failure
        }),
        Err(failure) => Err(failure),
    }
}

/// Makes the lock of a project fit. The lock, and whether it changed.
fn update(
    project: &Project,
    tools: &Tools<'_>,
    options: &Options,
    moves: Moves,
) -> Result<(Lock, bool), Failure> {
    let started = Instant::now();
    let previous = project.read_lock()?;
    let lock = tools.choose(project, previous.as_ref(), options, moves)?;
    let text = rendered(&lock)?;
    let path = project.lock_path();
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let changed = text != old;
    if changed {
        whole_file::write(&path, |file, _| {
            file.write_all(text.as_bytes())
                .map_err(|error| Failure::io(&format!("writing `{}`", path.display()), &error))
        })?;
    }
    report_changes(previous.as_ref(), &lock, changed, tools.output);
    report_locked(&lock, started, tools.output);
    Ok((lock, changed))
}

/// The text of a lock that was chosen, read back as a build would read it.
pub(super) fn rendered(lock: &Lock) -> Result<String, Failure> {
    lock.render_checked().map_err(|error| Failure {
        causes: vec![error.to_string()],
        ..Failure::new(
            exit::INTERNAL,
            "what was chosen makes no lock; nothing was written",
        )
        .hint(
            "this is a fault of kiln: please report it with the family files and the lock from \
             before",
        )
    })
}

/// Says what would move that no change concerns; an error if anything would.
fn refuse_moves(moves: &[Move], output: &Output) -> Result<(), Failure> {
    if moves.is_empty() {
        return Ok(());
    }
    if output.is_json() {
        for it in moves {
            for package in &it.packages {
                output.json(&json!({
                    "event": "would-move", "image": it.image, "package": package.name,
                    "from": package.from, "to": package.to, "because": it.because,
                }));
            }
        }
    }
    Err(refusal(moves))
}

fn refusal(moves: &[Move]) -> Failure {
    let message = format!(
        "{} would move that the change does not concern",
        count(moves.len(), "image")
    );
    let hint = "`--allow-moves` moves them; else change the requirement that does not fit \
                the locked versions, or set `independent = true` in its bundle";
    Failure {
        details: moves.iter().map(describe).collect(),
        ..Failure::new(exit::RESOLUTION, message).hint(hint)
    }
}

/// A move for people: the image, why, and each package.
fn describe(it: &Move) -> String {
    let because = if it.because.is_empty() {
        "its sources offer something else than before".to_owned()
    } else {
        let names: Vec<String> = it.because.iter().map(ToString::to_string).collect();
        format!(
            "its versions are chosen together with those of {}",
            names.join(", ")
        )
    };
    let mut text = format!("{} would move: {because}", it.image);
    for package in &it.packages {
        let _ = write!(text, "\n  {package}");
    }
    text
}

/// What a person is told of an event.
fn say(event: &Event) -> Option<String> {
    match event {
        Event::OsSet { packages: 0, .. } | Event::Universe { packages: 0, .. } => None,
        Event::Indexes {
            component,
            platform,
        } => Some(format!(
            "reading the archives of {} for {platform}",
            component.name
        )),
        Event::OsSet {
            set,
            packages,
            moved: true,
        } => Some(format!(
            "chose {} for {set}",
            count(*packages, "OS package")
        )),
        Event::Universe {
            set,
            packages,
            moved: true,
        } => Some(format!("chose {} for {set}", count(*packages, "wheel"))),
        Event::Building {
            project,
            version,
            base,
        } => Some(format!(
            "building {project} {version} from source on {base}"
        )),
        Event::Gone { id } => Some(format!("{id} is gone from its source")),
        _ => None,
    }
}

/// Tells what changed from one lock to the next.
pub(crate) fn report_changes(previous: Option<&Lock>, lock: &Lock, changed: bool, output: &Output) {
    let diff = previous
        .map(|previous| kiln_lock::diff(previous, lock))
        .unwrap_or_default();
    if output.is_json() {
        for change in &diff.packages {
            output.json(&json!({
                "event": "changed", "package": change.name, "from": change.from, "to": change.to,
            }));
        }
        return;
    }
    for change in &diff.packages {
        output.line(match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!("~ {} {from} → {to}", change.name),
            (None, Some(to)) => format!("+ {} {to}", change.name),
            (Some(from), None) => format!("- {} {from}", change.name),
            (None, None) => continue,
        });
    }
    for moved in &diff.moved {
        output.line(format!(
            "image {}: {} → {}",
            moved.name, moved.from, moved.to
        ));
    }
    for name in &diff.added {
        output.line(format!("new image {name}"));
    }
    for name in &diff.removed {
        output.line(format!("removed image {name}"));
    }
    if previous.is_some() && diff.is_empty() {
        output.line(if changed {
            "no package and no date changed; what else the family says is locked"
        } else {
            "nothing changed"
        });
    }
}

/// Tells what a lock that was written holds.
pub(crate) fn report_locked(lock: &Lock, started: Instant, output: &Output) {
    if output.is_json() {
        output.json(&json!({
            "event": "locked", "images": lock.images.len(), "debs": lock.debs.len(),
            "wheels": lock.wheels.len(),
        }));
        return;
    }
    output.note(format!(
        "locked {}: {}, {} in {:.1} s",
        count(lock.images.len(), "image"),
        count(lock.debs.len(), "OS package"),
        count(lock.wheels.len(), "wheel"),
        started.elapsed().as_secs_f64(),
    ));
}

#[cfg(test)]
mod tests {
    use kiln_lock::{diff::PackageKind, moves::PackageMove};
    use kiln_recipe::{ComponentId, ComponentKind};

    use super::*;

    #[test]
    fn a_refusal_says_which_images_what_and_why() {
        let package = |name: &str, from: Option<&str>, to: Option<&str>| PackageMove {
            kind: PackageKind::Wheel,
            name: name.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        };
        let moves = [
            Move {
                image: "runtime-science-d12-py311_2026b_20261122".to_owned(),
                packages: vec![
                    package("numpy", Some("2.4.1"), Some("2.3.5")),
                    package("old", Some("1.0"), None),
                    package("typing-extensions", None, Some("4.16")),
                ],
                because: vec![ComponentId {
                    kind: ComponentKind::Ide,
                    name: "jupyter".to_owned(),
                }],
            },
            Move {
                image: "runtime-minimal-d12-py311_2026b_20261122".to_owned(),
                packages: vec![package("pip", Some("26.3"), Some("26.3"))],
                because: Vec::new(),
            },
        ];
        let failure = refusal(&moves);
        assert_eq!(failure.code, exit::RESOLUTION);
        let text = format!(
            "{}\nerror: {}\nhint: {}",
            failure.details.join("\n"),
            failure.message,
            failure.hint.unwrap_or_default()
        );
        insta::assert_snapshot!(text, @r"
        runtime-science-d12-py311_2026b_20261122 would move: its versions are chosen together with those of ide/jupyter
          numpy 2.4.1 → 2.3.5
          old 1.0 → nothing
          typing-extensions: new, 4.16
        runtime-minimal-d12-py311_2026b_20261122 would move: its sources offer something else than before
          pip 26.3 → another file
        error: 2 images would move that the change does not concern
        hint: `--allow-moves` moves them; else change the requirement that does not fit the locked versions, or set `independent = true` in its bundle
        ");
    }
}
