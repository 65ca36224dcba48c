"""Real builds, each under one random fault, and what must hold after each of them.

After every run, without exception: the next plain build in the same store succeeds with the digest
of an undisturbed build, `kiln store verify` is clean, and no temporary file, mount or process stays
behind. A faulted build that says it succeeded has said the right digest.

    python3 -m chaos --runs 100 --seed 7 [--only FAULT]

- `worlds`: families to build, and stores to begin from
- `run`: one run: its store, its processes, its chance
- `checks`: what is promised afterwards
- `kills`, `calls`, `disks`, `networks`, `clocks`, `crowds`, `rot`: the faults
- `__main__`: the runner

What a fault does is drawn from a generator that the seed and the number of the run determine; at
which instant of a build it strikes depends on the machine as well.
"""
