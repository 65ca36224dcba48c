//! Reporters: they turn the events of a build into what people, logs and programs read.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln_build::Event;
use serde_json::json;

use crate::output::{Output, bytes, count};

/// Receives the events of a build.
pub(crate) enum Reporter<'a> {
    /// A line for each running step and a total, redrawn.
    Terminal(Terminal),
    /// A line for each thing that ends.
    Plain(&'a Output),
    /// JSON lines on standard output.
    Json(&'a Output),
    /// Nothing.
    Quiet,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        use std::io::IsTerminal;
        if output.is_json() {
            Self::Json(output)
        } else if output.verbosity < 0 {
            Self::Quiet
        } else if std::io::stderr().is_terminal() && output.verbosity == 0 {
            Self::Terminal(Terminal::new())
        } else {
            Self::Plain(output)
        }
    }

    pub(crate) fn event(&self, event: &Event) {
        match self {
            Self::Terminal(terminal) => terminal.event(event),
            Self::Plain(output) => plain(output, event),
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

fn plain(output: &Output, event: &Event) {
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
                count(*steps, "layer"),
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
        Event::Fetch(kiln_fetch::Event::Finished { name, size, .. }) if output.verbosity > 0 => {
            output.note(format!("downloaded {name} ({})", bytes(*size)));
        }
        Event::StepStarted { title, .. } if output.verbosity > 1 => {
            output.note(format!("packing {title}"));
        }
        Event::StepFinished {
            title, size, took, ..
        } => {
            output.note(format!(
                "packed {title} ({}, {:.1} s)",
                bytes(*size),
                took.as_secs_f64()
            ));
        }
        Event::Repaired { what } => {
            output.warning(format!(
                "{what} was corrupt in the store: fetching it again"
            ));
        }
        _ => {}
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
        Event::StepFinished {
            step,
            title,
            size,
            took,
        } => json!({
            "event": "step-finished", "step": step, "title": title, "size": size,
            "seconds": took.as_secs_f64(),
        }),
        Event::Repaired { what } => json!({"event": "repaired", "file": what}),
        Event::ImageFinished { name } => json!({"event": "image-finished", "image": name}),
        _ => return None,
    })
}

/// A total for downloads, a total for steps, and a line for each running step.
pub(crate) struct Terminal {
    bars: MultiProgress,
    shown: Mutex<Shown>,
}

/// What is on the screen now. The totals come with the first event that says how much there is.
#[derive(Default)]
struct Shown {
    downloads: Option<ProgressBar>,
    packed: Option<ProgressBar>,
    running: HashMap<usize, ProgressBar>,
    downloaded: HashMap<kiln_digest::Digest, u64>,
}

impl Terminal {
    fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
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
                shown.packed = self.total(
                    (steps - known) as u64,
                    "packing     [{bar:30}] {pos}/{len} layers, {elapsed}",
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
                    .add(ProgressBar::new_spinner().with_message(title.clone()));
                bar.enable_steady_tick(Duration::from_millis(100));
                shown.running.insert(*step, bar);
            }
            Event::StepFinished { step, .. } => {
                if let Some(bar) = shown.running.remove(step) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
                if let Some(packed) = &shown.packed {
                    packed.inc(1);
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

impl Shown {
    fn show_downloads(&self) {
        if let Some(downloads) = &self.downloads {
            downloads.set_position(self.downloaded.values().sum());
        }
    }
}
