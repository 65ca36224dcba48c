"""Builds under random faults: a short run of `chaos` with one seed, or with `--full` a long one."""

import os
import subprocess
import sys
import unittest

import harness

FULL = "KILN_E2E_FULL" in os.environ
RUNS = "450" if FULL else "36"
SEED = "5"


class Chaos(unittest.TestCase):
    def test_the_next_build_is_right_after_every_fault(self):
        harness.fresh_family()
        # A process of its own: it adopts orphans, which no other test should meet.
        as_root = [] if os.geteuid() == 0 else ["sudo", "--preserve-env"]
        done = subprocess.run(
            [*as_root, sys.executable, "-m", "chaos", "--runs", RUNS, "--seed", SEED],
            cwd=harness.ROOT / "tests/e2e",
            env={**os.environ, "KILN_E2E_WORK": str(harness.WORK)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        print(done.stdout[done.stdout.rindex("\n", 0, -2) + 1 :], end="")


if __name__ == "__main__":
    unittest.main()
