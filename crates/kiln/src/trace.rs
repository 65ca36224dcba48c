//! What libraries trace, on standard error: warnings always, with `-v` what they do unasked, with
//! `-vv` each request.

use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, registry,
    util::SubscriberInitExt as _,
};

use crate::output::Output;

/// Shows what kiln's own libraries trace from now on.
pub(crate) fn subscribe(output: &Output) {
    let level = match output.verbosity {
        ..0 => tracing::Level::ERROR,
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    // Libraries below trace as well, and say what only their authors understand.
    let own = Targets::new().with_target("kiln", level);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time();
    // Fails only where there is a subscriber already.
    let _ = registry().with(lines.with_filter(own)).try_init();
}
