//! Reporters: they turn the events of a build into what people, logs and programs read.

mod unpacking;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln_build::Event;
use kiln_plan::Plan;
use serde_json::json;

pub(crate) use unpacking::Unpacking;

use crate::output::{Output, bytes, count, shortened};

/// Characters of a step's title where what it prints shall have room beside it.
const TITLE_WIDTH: usize = 40;

/// Receives the events of a build.
pub(crate) enum Reporter<'a> {
    /// A line for each running step and a total, redrawn.
    Terminal(Terminal),
    /// A line for each thing that ends.
    Plain(Plain<'a>),
    /// JSON lines on standard output.
    Json(&'a Output),
    /// Nothing.
    Quiet,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(output: &'a Output, plan: &'a Plan) -> Self {
        use std::io::IsTerminal;
        let mut names = plan.images.iter().map(|image| &image.name);
        let first = names.next();
        let several = names.any(|name| Some(name) != first);
        if output.is_json() {
            Self::Json(output)
        } else if output.verbosity < 0 {
            Self::Quiet
        } else if std::io::stderr().is_terminal() && output.verbosity == 0 {
            Self::Terminal(Terminal::new(several))
        } else {
            Self::Plain(Plain {
                output,
                plan,
                several,
                printed: Mutex::default(),
            })
        }
    }

    pub(crate) fn event(&self, event: &Event) {
        if matches!(event, Event::StepOutput { bytes, .. } if bytes.is_empty()) {
            return;
        }
        match self {
            Self::Terminal(terminal) => terminal.event(event),
            Self::Plain(plain) => plain.event(event),
            Self::Json(output) => {
                if let Some(line) = as_json(event) {
                    output.json(&line);
                }
            }
            Self::Quiet => {}
        }
    }

    /// Removes what was redrawn, before the result is written.
    pub(crate) fn finish(&self) {
        if let Self::Terminal(terminal) = self {
            let _ = terminal.bars.clear();
        }
    }
}

/// Lines that stay.
pub(crate) struct Plain<'a> {
    output: &'a Output,
    plan: &'a Plan,
    /// Whether several images are built.
    several: bool,
    /// What steps have printed of lines that have not ended.
    printed: Mutex<HashMap<usize, Vec<u8>>>,
}

impl Plain<'_> {
    fn event(&self, event: &Event) {
        let output = self.output;
        match event {
            Event::Started {
                steps,
                known,
                downloads,
                download_bytes,
            } => {
                let todo = steps - known;
                output.note(format!(
                    "{}: {known} known, {todo} to build; {} to download ({})",
                    count(*steps, "step"),
                    count(*downloads, "file"),
                    bytes(*download_bytes)
                ));
            }
            Event::Fetch(kiln_fetch::Event::Retried {
                name, why, wait, ..
            }) => {
                output.note(format!(
                    "retrying {name} in {:.1} s: {why}",
                    wait.as_secs_f64()
                ));
            }
            Event::Fetch(kiln_fetch::Event::Finished { name, size, .. })
                if output.verbosity > 0 =>
            {
                output.note(format!("downloaded {name} ({})", bytes(*size)));
            }
            Event::StepStarted { step, title } if output.verbosity > 1 => {
                let verb = self.verb(*step, ["running", "packing"]);
                output.note(format!("{verb} {title}"));
            }
            Event::StepOutput { step, bytes } if output.verbosity > 0 => {
                self.printed(*step, bytes);
            }
            Event::StepFinished {
                step,
                title,
                size,
                took,
                ..
            } => {
                self.printed(*step, b"");
                output.note(format!(
                    "{} {title} ({}, {:.1} s)",
                    self.verb(*step, ["ran", "packed"]),
                    bytes(*size),
                    took.as_secs_f64()
                ));
            }
            Event::GivenUp { images, why, left } if self.several => {
                output.note(given_up(images, why, *left));
            }
            Event::Repaired { what } => {
                output.warning(format!(
                    "{what} was corrupt in the store: fetching it again"
                ));
            }
            _ => {}
        }
    }

    /// The first word for a step that runs programs, the second for one that packs.
    fn verb(&self, step: usize, [executes, packs]: [&'static str; 2]) -> &'static str {
        match self.plan.steps.get(step) {
            Some(step) if step.action.executes() => executes,
            _ => packs,
        }
    }

    /// Shows the lines that a step has finished printing; without more bytes, all that it printed.
    fn printed(&self, step: usize, bytes: &[u8]) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let open = printed.entry(step).or_default();
        open.extend_from_slice(bytes);
        let end = match open.iter().rposition(|&byte| byte == b'\n') {
            _ if bytes.is_empty() => open.len(),
            Some(last) => last + 1,
            None => return,
        };
        let title = self.plan.steps.get(step).map_or("", |step| &step.title);
        let title = shortened(title, TITLE_WIDTH);
        let lines: Vec<u8> = open.drain(..end).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            self.output.note(format!("{title} | {}", shown_line(line)));
        }
    }
}

/// What a failure means for the images. The whole error comes at the end.
fn given_up(images: &[String], why: &str, left: usize) -> String {
    let names = images.join(", ");
    match left {
        0 => format!("failed: {names}: {why}"),
        left => format!("failed: {names}: {why}; {} left", count(left, "image")),
    }
}

fn as_json(event: &Event) -> Option<serde_json::Value> {
    Some(match event {
        Event::Started {
            steps,
            known,
            downloads,
            download_bytes,
        } => json!({
            "event": "started", "steps": steps, "known": known,
            "downloads": downloads, "download_bytes": download_bytes,
        }),
        Event::Fetch(kiln_fetch::Event::Finished {
            name, size, digest, ..
        }) => {
            json!({"event": "downloaded", "file": name, "size": size, "sha256": digest.hex()})
        }
        Event::Fetch(kiln_fetch::Event::Retried {
            name, why, attempt, ..
        }) => {
            json!({"event": "retried", "file": name, "attempt": attempt, "why": why})
        }
        Event::StepStarted { step, title } => {
            json!({"event": "step-started", "step": step, "title": title})
        }
        Event::StepOutput { step, bytes } => json!({
            "event": "step-output", "step": step, "text": String::from_utf8_lossy(bytes),
        }),
        Event::StepFinished {
            step,
            steps,
            title,
            size,
            took,
        } => json!({
            "event": "step-finished", "step": step, "steps": steps, "title": title, "size": size,
            "seconds": took.as_secs_f64(),
        }),
        Event::StepFailed { step } => json!({"event": "step-failed", "step": step}),
        Event::GivenUp { images, why, left } => {
            json!({"event": "given-up", "images": images, "why": why, "left": left})
        }
        Event::Repaired { what } => json!({"event": "repaired", "file": what}),
        Event::ImageFinished { name } => json!({"event": "image-finished", "image": name}),
        _ => return None,
    })
}

/// A total for downloads, a total for steps, and a line for each running step.
pub(crate) struct Terminal {
    bars: MultiProgress,
    /// Whether several images are built.
    several: bool,
    shown: Mutex<Shown>,
}

/// What is on the screen now. The totals come with the first event that says how much there is.
#[derive(Default)]
struct Shown {
    downloads: Option<ProgressBar>,
    built: Option<ProgressBar>,
    running: HashMap<usize, ProgressBar>,
    downloaded: HashMap<kiln_digest::Digest, u64>,
}

impl Terminal {
    fn new(several: bool) -> Self {
        Self {
            bars: MultiProgress::new(),
            several,
            shown: Mutex::default(),
        }
    }

    /// A total of `length`, unless there is nothing to count.
    fn total(&self, length: u64, template: &str) -> Option<ProgressBar> {
        if length == 0 {
            return None;
        }
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = self.bars.add(ProgressBar::new(length).with_style(style));
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }

    fn event(&self, event: &Event) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started {
                steps,
                known,
                download_bytes,
                ..
            } => {
                shown.downloads = self.total(
                    *download_bytes,
                    "downloading [{bar:30}] {decimal_bytes}/{decimal_total_bytes} \
                     {decimal_bytes_per_sec}, {eta} left",
                );
                shown.built = self.total(
                    (steps - known) as u64,
                    "building    [{bar:30}] {pos}/{len} steps, {elapsed}",
                );
            }
            Event::Fetch(kiln_fetch::Event::Progress { digest, bytes }) => {
                shown.downloaded.insert(*digest, *bytes);
                shown.show_downloads();
            }
            Event::Fetch(kiln_fetch::Event::Finished { digest, size, .. }) => {
                shown.downloaded.insert(*digest, *size);
                shown.show_downloads();
            }
            Event::Fetch(kiln_fetch::Event::Retried {
                name, why, wait, ..
            }) => {
                let wait = wait.as_secs_f64();
                let _ = self
                    .bars
                    .println(format!("retrying {name} in {wait:.1} s: {why}"));
            }
            Event::StepStarted { step, title } => {
                let bar = self
                    .bars
                    .add(ProgressBar::new_spinner().with_style(running_style()));
                bar.set_prefix(shortened(title, TITLE_WIDTH));
                bar.enable_steady_tick(Duration::from_millis(100));
                shown.running.insert(*step, bar);
            }
            Event::StepOutput { step, bytes } => {
                let text = String::from_utf8_lossy(bytes);
                let last = text.lines().rev().find(|line| !line.trim().is_empty());
                if let (Some(bar), Some(last)) = (shown.running.get(step), last) {
                    bar.set_message(shown_line(last));
                }
            }
            Event::StepFailed { step } => shown.end(*step, &self.bars),
            Event::GivenUp { images, why, left } if self.several => {
                let _ = self.bars.println(given_up(images, why, *left));
            }
            Event::StepFinished { step, steps, .. } => {
                shown.end(*step, &self.bars);
                if let Some(built) = &shown.built {
                    built.inc(*steps as u64);
                }
            }
            Event::Repaired { what } => {
                let _ = self.bars.println(format!(
                    "{what} was corrupt in the store: fetching it again"
                ));
            }
            _ => {}
        }
    }
}

/// A running step: what it is, and the last line that it printed.
fn running_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {wide_msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A line without what would move the cursor.
fn shown_line(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

impl Shown {
    /// Takes the line of a step away.
    fn end(&mut self, step: usize, bars: &MultiProgress) {
        if let Some(bar) = self.running.remove(&step) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }

    fn show_downloads(&self) {
        if let Some(downloads) = &self.downloads {
            downloads.set_position(self.downloaded.values().sum());
        }
    }
}
