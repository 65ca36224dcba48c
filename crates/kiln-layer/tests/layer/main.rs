//! Layers as a whole: their bytes, what others make of them, and reading them back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod comparing;
mod format;
mod lazy;
mod merging;
mod reading;
mod sample;
mod tools;

use kiln_layer::{Compression, Entry, LayerSummary, write_layer};

fn written(entries: &[Entry], compression: Compression) -> (Vec<u8>, LayerSummary) {
    let mut blob = Vec::new();
    let summary = write_layer(entries, compression, &mut blob).unwrap();
    (blob, summary)
}
