//! `kiln export`: an image of the store as an archive or a directory.

use std::{
    io::{BufWriter, Write},
    path::Path,
};

use kiln_oci::Image;
use kiln_store::Store;

use crate::{
    args::{Export, ExportFormat, Global},
    error::Failure,
    output::Output,
    project, stored, whole_file,
};

pub(crate) fn run(args: &Export, global: &Global, output: &Output) -> Result<(), Failure> {
    let store = project::store(global)?;
    let name = stored::one(&store, global, &args.image)?;
    let image = stored::image(&store, &name, args.platform)?;
    if args.format == ExportFormat::OciDir {
        let reference = stored::reference(global, &name);
        kiln_oci::write_oci_directory(&image, &name, &reference, &store.blob_opener(), &args.path)?;
    } else if args.path == Path::new("-") {
        let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        archive(args.format, &store, &image, &name, global, &mut out)?;
        out.flush()
            .map_err(|error| Failure::io("writing to standard output", &error))?;
        return Ok(());
    } else {
        whole_file::write(&args.path, |file, _| {
            archive(args.format, &store, &image, &name, global, file)
        })?;
    }
    output.note(format!("wrote {name} to `{}`", args.path.display()));
    Ok(())
}

fn archive(
    format: ExportFormat,
    store: &Store,
    image: &Image,
    name: &str,
    global: &Global,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let reference = stored::reference(global, name);
    if format == ExportFormat::DockerArchive {
        kiln_oci::write_docker_archive(image, &[reference], &store.blob_opener(), out)?;
    } else {
        kiln_oci::write_oci_archive(image, name, &reference, &store.blob_opener(), out)?;
    }
    Ok(())
}
