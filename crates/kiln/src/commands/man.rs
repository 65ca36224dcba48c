//! `kiln man`: manual pages. They are made by the program that they describe, so whoever has the
//! one has the others, and packagers need nothing else.

use std::{io::Write as _, path::Path};

use clap::CommandFactory as _;

use crate::{
    args::{Args, Man},
    error::Failure,
    output::{Output, count},
    whole_file,
};

pub(crate) fn run(args: &Man, output: &Output) -> Result<(), Failure> {
    let mut kiln = Args::command();
    kiln.build();
    let Some(dir) = &args.out else {
        let page = render(kiln)?;
        output.line(String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::io(&format!("making `{}`", dir.display()), &error))?;
    let pages = write(&kiln, dir)?;
    let pages = count(pages, "page");
    output.note(format!("wrote {pages} to `{}`", dir.display()));
    Ok(())
}

/// Writes the pages of a command and of those below it; gives their number.
fn write(command: &clap::Command, dir: &Path) -> Result<usize, Failure> {
    let path = dir.join(clap_mangen::Man::new(command.clone()).get_filename());
    let page = render(command.clone())?;
    whole_file::write(&path, |file, _| {
        file.write_all(&page)
            .map_err(|error| Failure::io(&format!("writing `{}`", path.display()), &error))
    })?;
    let below = command
        .get_subcommands()
        .filter(|it| it.get_name() != "help");
    let mut pages = 1;
    for command in below {
        pages += write(command, dir)?;
    }
    Ok(pages)
}

fn render(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let name = command.get_display_name().unwrap_or("kiln").to_uppercase();
    // Pages have no date, so the same kiln gives the same pages.
    let title = format!(".TH {name} 1 \"\" \"kiln {}\"", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::io("writing a manual page", &error))?;
    // What clap_mangen writes between paragraphs is not what mandoc and groff want there.
    let page = String::from_utf8_lossy(&page).replace("\n.br\n\n.br\n", "\n.sp\n");
    let lines = page.lines().map(|line| match line {
        line if line.starts_with(".TH ") => title.as_str(),
        line => line.trim_end(),
    });
    Ok((lines.collect::<Vec<_>>().join("\n") + "\n").into_bytes())
}
