//! `kiln load`: an image of the store into an engine's own.

use std::{
    io::{BufWriter, Write},
    process::{Command, Stdio},
};

use kiln_oci::Image;
use kiln_store::Store;

use crate::{
    args::{Engine, Global, Load},
    error::Failure,
    exit,
    output::Output,
    project, stored,
};

pub(crate) fn run(args: &Load, global: &Global, output: &Output) -> Result<(), Failure> {
    let store = project::store(global)?;
    let engine = match args.engine {
        Engine::Docker => "docker",
        Engine::Podman => "podman",
    };
    for name in stored::names(&store, global, &args.images)? {
        let reference = stored::reference(global, &name);
        let image = stored::image(&store, &name, args.platform)?;
        let mut child = Command::new(engine)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Failure {
                    causes: vec![error.to_string()],
                    ..Failure::new(exit::ENGINE, format!("`{engine}` cannot be started"))
                }
                .hint(format!(
                    "install {engine}, or write an archive with `kiln export`"
                ))
            })?;
        let written = child.stdin.take().map_or(Ok(()), |stdin| {
            docker_archive(&store, &image, &reference, stdin)
        });
        let finished = child
            .wait_with_output()
            .map_err(|error| Failure::io(&format!("waiting for `{engine} load`"), &error))?;
        if !finished.status.success() {
            let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
            return Err(Failure {
                causes: vec![said],
                ..Failure::new(
                    exit::ENGINE,
                    format!("`{engine} load` failed ({})", finished.status),
                )
            });
        }
        written?;
        output.line(reference);
    }
    Ok(())
}

fn docker_archive(
    store: &Store,
    image: &Image,
    reference: &str,
    out: impl Write,
) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    kiln_oci::write_docker_archive(
        image,
        &[reference.to_owned()],
        &store.blob_opener(),
        &mut out,
    )?;
    out.flush()
        .map_err(|error| Failure::io("handing the image over", &error))
}
