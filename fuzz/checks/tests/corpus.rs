//! Every kept input through its check. The inputs are the seeds and what fuzzers found.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use kiln_fuzz_checks::CHECKS;

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_kept_input_keeps_every_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (name, check) in CHECKS {
        let directory = corpus.join(name);
        let inputs = names(&directory);
        assert!(!inputs.is_empty(), "{name} has no inputs");
        for input in inputs {
            // What a failed test printed names the input.
            println!("{name}/{input}");
            check(&fs::read(directory.join(input)).unwrap());
        }
    }
}

#[test]
fn every_check_has_a_fuzzer_and_inputs() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let checks: BTreeSet<String> = CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz.join("corpus")), checks);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let fuzzers = names(&fuzz.join("fuzz_targets"));
    let fuzzers: BTreeSet<String> = fuzzers
        .iter()
        .map(|file| file.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(fuzzers, checks);
    for name in &checks {
        assert!(
            manifest.contains(&format!("\nname = \"{name}\"\n")),
            "{name}"
        );
        let text = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("kiln_fuzz_checks::{name}(data)")));
    }
}
