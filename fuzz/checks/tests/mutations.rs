//! Kept inputs with random damage, through their checks: what a fuzzer does, but blind, the same
//! each time, and without a fuzzer.
//!
//! The input that was tried last is in `target/tmp/mutation-NAME`, also when the process ends.
//! `KILN_MUTATIONS` says how many for each check, `KILN_MUTATIONS_OF` which check
//! alone, and `KILN_MUTATIONS_SEED` another beginning.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, env, fs, path::Path};

use kiln_fuzz_checks::CHECKS;

/// Numbers that look random (Marsaglia, "Xorshift RNGs").
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end.max(1)
    }

    fn part<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.below(bytes.len());
        let length = self.below((bytes.len() - start).min(64) + 1);
        &bytes[start..start + length]
    }
}

const TELLING: &[u8] = b"\0\x01\x7f\x80\xff0123456789aAfFzZ \t\r\n\"'()[]{}<>=:;,.|/\\-_+~#%&@!*$";

fn damaged(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = at + random.below((bytes.len() - at).min(64) + 1);
        let telling = TELLING[random.below(TELLING.len())];
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = telling,
            2 => bytes.insert(at, telling),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..end, random.part(other).to_vec())),
            5 => drop(bytes.splice(at..at, random.part(input).to_vec())),
            _ if random.below(8) == 0 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, vec![telling; random.below(40)])),
        }
    }
    bytes
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn damaged_inputs_keep_every_promise() {
    let rounds = number("KILN_MUTATIONS").unwrap_or(150);
    let seed = number("KILN_MUTATIONS_SEED").unwrap_or(1);
    let wanted = env::var("KILN_MUTATIONS_OF").ok();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (name, check) in CHECKS {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let entries = fs::read_dir(corpus.join(name)).unwrap();
        let paths: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
        let inputs: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutation-{name}"));
        for _ in 0..rounds {
            let input = &inputs[random.below(inputs.len())];
            let other = &inputs[random.below(inputs.len())];
            let bytes = damaged(input, other, &mut random);
            fs::write(&file, &bytes).unwrap();
            check(&bytes);
        }
    }
}
