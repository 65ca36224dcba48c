//! `kiln add` and `kiln remove`: a component's file is edited, and the family locked.
//!
//! Versions are chosen while the new text is in memory alone, so a conflict, a source that fails, an
//! interrupt or a kill leaves both files as they were. When the lock is known, both new files are
//! written beside the old ones and then put into their places, the component's first. A kill between
//! the two leaves a lock that does not fit the family, which every command says; the same command
//! again, or `kiln lock`, completes it. The other way round, `kiln lock` would undo what was asked.

mod chosen;
mod target;
mod tell;

use std::{fs, io::Write as _, time::Instant};

use kiln_lock::Lock;
use kiln_recipe::edit::{self, Bounds, Change, Wanted};

use self::target::Target;
use super::lock::{self, Moves, Tools};
use crate::{
    args::{Add, EditOptions, Global, Remove},
    error::Failure,
    exit,
    output::Output,
    project::{self, Project},
    whole_file,
};

pub(crate) fn add(args: &Add, global: &Global, output: &Output) -> Result<(), Failure> {
    let target = Target::open(global, &args.to)?;
    let wanted = wanted(&args.options);
    let (mut text, mut changes) = (target.text.clone(), Vec::<Change>::new());
    for package in &args.packages {
        let (new, change) = edit::add(&text, wanted, package)
            .map_err(|error| tell::failure(&target, wanted, &error))?;
        let is_given = |other: &Change| other.name == change.name && other.to == change.from;
        if changes.iter().any(is_given) {
            let message = format!("`{}` is named twice", change.name);
            return Err(Failure::new(exit::USAGE, message).hint("name each package once"));
        }
        text = new;
        changes.push(change);
    }
    let edit = Edit::new(&target, &args.options, global, output);
    edit.carry_out(text, changes, args.bounds.into())
}

pub(crate) fn remove(args: &Remove, global: &Global, output: &Output) -> Result<(), Failure> {
    let target = Target::open(global, &args.from)?;
    let wanted = wanted(&args.options);
    let (mut text, mut changes) = (target.text.clone(), Vec::new());
    for package in &args.packages {
        let (new, gone) = edit::remove(&text, wanted, package)
            .map_err(|error| tell::failure(&target, wanted, &error))?;
        text = new;
        changes.extend(gone);
    }
    let edit = Edit::new(&target, &args.options, global, output);
    edit.carry_out(text, changes, Bounds::None)
}

fn wanted(options: &EditOptions) -> Wanted {
    if options.os {
        Wanted::Os
    } else {
        Wanted::Python
    }
}

/// What is edited, and how.
struct Edit<'a> {
    target: &'a Target,
    wanted: Wanted,
    options: &'a EditOptions,
    global: &'a Global,
    output: &'a Output,
}

impl<'a> Edit<'a> {
    fn new(
        target: &'a Target,
        options: &'a EditOptions,
        global: &'a Global,
        output: &'a Output,
    ) -> Self {
        Self {
            target,
            wanted: wanted(options),
            options,
            global,
            output,
        }
    }

    /// Locks the family with a new text of the file, and writes both.
    fn carry_out(&self, text: String, changes: Vec<Change>, bounds: Bounds) -> Result<(), Failure> {
        let nothing = changes.iter().all(Change::is_none);
        let edited = self.target.with(&text)?;
        if self.options.no_lock || (nothing && self.target.project.fitting_lock().is_ok()) {
            if !self.options.dry_run && !nothing {
                self.put(&text, None)?;
            }
            self.tell(&edited, &changes);
            return Ok(());
        }
        if !self.target.is_used() {
            let message = format!("no image has {}: nothing would be locked", self.target.id);
            return Err(Failure::new(exit::USAGE, message).hint(
                "add an `[[image]]` with it to `kiln.toml`, or edit the file alone with `--no-lock`",
            ));
        }
        self.lock(Draft {
            text,
            changes,
            edited,
            bounds,
        })
    }

    fn lock(&self, mut draft: Draft) -> Result<(), Failure> {
        let started = Instant::now();
        let project = &self.target.project;
        let (store, fetcher) = (project::store(self.global)?, project.fetcher(self.global)?);
        let tools = Tools {
            store: &store,
            fetcher: &fetcher,
            offline: self.global.offline,
            output: self.output,
        };
        let previous = project.read_lock()?;
        let lock = self.choose(&tools, &mut draft, previous.as_ref())?;
        let old = fs::read_to_string(project.lock_path()).unwrap_or_default();
        let text = lock::rendered(&lock)?;
        let changed = text != old;
        if !self.options.dry_run {
            self.put(&draft.text, changed.then_some(text.as_str()))?;
        }
        self.tell(&draft.edited, &draft.changes);
        lock::report_changes(previous.as_ref(), &lock, changed, self.output);
        for change in draft.changes.iter().filter(|it| it.to.is_none()) {
            if chosen::is_left(&lock, &draft.edited.family, &self.target.id, change) {
                self.output.note(format!(
                    "`{0}` stays, as something else requires it: `kiln why {0}`",
                    change.name
                ));
            }
        }
        if self.options.dry_run {
            self.output.note("nothing is written: `--dry-run`");
            return Ok(());
        }
        lock::report_locked(&lock, started, self.output);
        if self.options.no_lint {
            return Ok(());
        }
        tools.lint(&draft.edited, &lock, changed)
    }

    /// Chooses versions, and bounds what was added without any. A requirement with a bound that
    /// lets in what was chosen leads to the same choice, so that it is not made again.
    fn choose(
        &self,
        tools: &Tools<'_>,
        draft: &mut Draft,
        previous: Option<&Lock>,
    ) -> Result<Lock, Failure> {
        let mut options = tools.options();
        options
            .exclude_newer
            .clone_from(&self.options.exclude_newer);
        let moves = if self.options.allow_moves {
            Moves::Allowed
        } else {
            Moves::Refused
        };
        let mut lock = tools.choose(&draft.edited, previous, &options, moves)?;
        let mut fits = true;
        let mut is_bounded = false;
        for change in &mut draft.changes {
            let is_open = |entry: &String| edit::is_unbounded(entry);
            let Some(entry) = change.to.as_ref().filter(|it| is_open(it)) else {
                continue;
            };
            if change.from.is_some() || draft.bounds == Bounds::None || self.wanted == Wanted::Os {
                continue;
            }
            let versions = chosen::versions(&lock, &draft.edited.family, &self.target.id, entry);
            let Some(lowest) = versions.first() else {
                let name = &change.name;
                let note = format!("`{name}` is in no image now, so no version is written");
                self.output.note(note);
                continue;
            };
            let bounded = edit::bounded(entry, lowest, draft.bounds);
            fits &= chosen::lets_in(&bounded, &versions);
            let (text, _) = edit::add(&draft.text, self.wanted, &bounded)
                .map_err(|error| tell::failure(self.target, self.wanted, &error))?;
            draft.text = text;
            change.to = Some(bounded);
            is_bounded = true;
        }
        if is_bounded {
            draft.edited = self.target.with(&draft.text)?;
            if fits {
                lock.requests = kiln_lock::requests(&draft.edited.family);
            } else {
                // Bases may have different versions: the one that all have.
                lock = tools.choose(&draft.edited, previous, &options, moves)?;
            }
        }
        Ok(lock)
    }

    /// Puts the new text into the file's place, and the lock into its own.
    fn put(&self, text: &str, lock: Option<&str>) -> Result<(), Failure> {
        let target = self.target;
        let is_new = text != target.text;
        let file = is_new.then(|| target.prepare(text)).transpose()?;
        let path = target.project.lock_path();
        let lock = lock.map(|lock| {
            whole_file::prepare(&path, |file, _| {
                file.write_all(lock.as_bytes())
                    .map_err(|error| Failure::io(&format!("writing `{}`", path.display()), &error))
            })
        });
        let lock = lock.transpose()?;
        target.check_unchanged()?;
        file.map_or(Ok(()), whole_file::Whole::put)?;
        if let Some((lock, ())) = lock {
            lock.put().inspect_err(|_| {
                // What failed matters more than a file that cannot be put back.
                let _ = target
                    .prepare(&target.text)
                    .and_then(whole_file::Whole::put);
            })?;
        }
        let sharing = target.sharing()?;
        if is_new && !sharing.is_empty() {
            self.output.warning(format!(
                "`{}` is of release {} as well, whose lock may fit no longer: \
                 `kiln lock --release NAME --check` says so",
                target.place,
                sharing.join(", ")
            ));
        }
        Ok(())
    }

    fn tell(&self, edited: &Project, changes: &[Change]) {
        for change in changes {
            tell::change(self, edited, change);
        }
    }
}

/// What the file and the family become.
struct Draft {
    text: String,
    changes: Vec<Change>,
    edited: Project,
    bounds: Bounds,
}
