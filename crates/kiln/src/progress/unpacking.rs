//! Layers that are unpacked before a program starts.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, count};

/// Shows how far they are: a bar on a terminal, which is gone when the program starts; a line
/// elsewhere.
pub(crate) struct Unpacking<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
}

impl<'a> Unpacking<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        Self { output, bar: None }
    }

    /// `done` of `all` are unpacked.
    pub(crate) fn told(&mut self, done: usize, all: usize) {
        if done == all {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            return;
        }
        if done == 0 {
            self.begin(all);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    fn begin(&mut self, all: usize) {
        let output = self.output;
        let on_terminal = std::io::stderr().is_terminal() && output.verbosity == 0;
        if !on_terminal || output.is_json() {
            output.note(format!("unpacking {}", count(all, "layer")));
            return;
        }
        let style = ProgressStyle::with_template("unpacking   [{bar:30}] {pos}/{len} layers")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        self.bar = Some(ProgressBar::new(all as u64).with_style(style));
    }
}

impl Drop for Unpacking<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
