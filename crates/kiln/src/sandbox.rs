//! The sandbox as this process wants it.

use std::path::Path;

use kiln_sandbox::{Choice, IdChoice, Sandbox, TreeChoice};

use crate::{error::Failure, exit};

/// The variable that chooses how the sandbox works: `ids=single,tree=copy`.
const VARIABLE: &str = "KILN_SANDBOX";

/// Opens the sandbox whose directory is `rootfs`.
pub(crate) fn open(rootfs: &Path) -> Result<Sandbox, Failure> {
    Ok(Sandbox::open(rootfs, choice()?)?)
}

/// How the sandbox works, as the environment says. Nothing of it changes what is built.
pub(crate) fn choice() -> Result<Choice, Failure> {
    match std::env::var(VARIABLE) {
        Ok(text) => parse(&text).map_err(|word| {
            Failure::new(exit::USAGE, format!("`{word}` in {VARIABLE} is not known")).hint(
                "known are `ids=root`, `ids=subordinate`, `ids=single`, `tree=overlay` and \
                 `tree=copy`, with commas between them",
            )
        }),
        Err(_) => Ok(Choice::default()),
    }
}

/// The error is the word that is not understood.
fn parse(text: &str) -> Result<Choice, &str> {
    let mut choice = Choice::default();
    let words = text.split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty()) {
        match word {
            "ids=auto" => choice.ids = IdChoice::Auto,
            "ids=root" => choice.ids = IdChoice::Root,
            "ids=subordinate" => choice.ids = IdChoice::Subordinate,
            "ids=single" => choice.ids = IdChoice::Single,
            "tree=auto" => choice.tree = TreeChoice::Auto,
            "tree=overlay" => choice.tree = TreeChoice::Overlay,
            "tree=copy" => choice.tree = TreeChoice::Copy,
            _ => return Err(word),
        }
    }
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_words_with_commas() {
        let single_copy = Choice {
            ids: IdChoice::Single,
            tree: TreeChoice::Copy,
        };
        assert_eq!(parse("ids=single,tree=copy"), Ok(single_copy));
        assert_eq!(parse(" tree=copy , ids=single,"), Ok(single_copy));
        assert_eq!(parse(""), Ok(Choice::default()));
        assert_eq!(parse("ids=auto,tree=auto"), Ok(Choice::default()));
        assert_eq!(parse("ids=single,tree=cow"), Err("tree=cow"));
        assert_eq!(parse("single"), Err("single"));
    }
}
