"""The runner: `python3 -m chaos --runs 100 --seed 7`. Ends with 1 if a promise was broken."""

import argparse
import collections
import random
import sys
import time

from . import calls, checks, clocks, crowds, disks, kills, networks, rot, worlds
from .run import Broken, Run, adopt_orphans

# Name → function, worlds in which it makes sense, how often it is taken.
FAULTS = {
    "kill": (kills.signals, ["tiny", "working"], 4),
    "kill-at-call": (kills.at_a_call, ["tiny", "working"], 4),
    "failing-call": (calls.failing, ["tiny", "working"], 6),
    "full-disk": (disks.full, ["tiny", "working"], 2),
    "hostile-mirror": (networks.hostile, ["tiny"], 4),
    "clock": (clocks.jumping, ["tiny", "working"], 2),
    "crowd": (crowds.together, ["tiny", "working"], 3),
    "copy": (crowds.copied, ["tiny", "working"], 2),
    "rot": (rot.rotten, ["tiny", "working"], 4),
}
# Runs that execute take some ten times as long.
WORKING = 0.1


def chosen(seed, number, only):
    """The fault and the world of a run."""
    chance = random.Random(f"{seed}:{number}")
    names = [only] if only else [*FAULTS]
    name = chance.choices(names, [FAULTS[it][2] for it in names])[0]
    found = FAULTS[name][1]
    return name, found[-1] if chance.random() < WORKING else found[0]


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=sys.modules["chaos"].__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--only", choices=FAULTS)
    parser.add_argument("--world", choices=["tiny", "working"], help="never the other")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no run begins after so long")
    parser.add_argument("--keep", action="store_true", help="keep the directories of runs that failed")
    options = parser.parse_args()
    adopt_orphans()
    made, broken, times = {}, [], collections.defaultdict(list)
    started = time.monotonic()
    for number in range(options.first, options.first + options.runs):
        if time.monotonic() - started > options.seconds:
            break
        fault, world = chosen(options.seed, number, options.only)
        world = options.world or world
        if world not in made:
            made[world] = getattr(worlds, world)()
        run = Run(made[world], fault, options.seed, number)
        begun = time.monotonic()
        try:
            FAULTS[fault][0](run)
            checks.all_of(run)
            verdict = "ok"
        except Broken as error:
            verdict = f"BROKEN\n{error}"
            again = f"--seed {options.seed} --first {number} --runs 1 --world {world}"
            verdict += f"\nagain: python3 -m chaos {again}" + (f" --only {options.only}" if options.only else "")
            broken.append(number)
        finally:
            run.close(keep=options.keep and number in broken)
        took = time.monotonic() - begun
        times[fault].append(took)
        print(f"{number} {fault} {world} {took:.1f} s: {'; '.join(run.notes)}: {verdict}", flush=True)
    for fault, each in sorted(times.items()):
        print(f"{fault}: {len(each)} runs, {sum(each):.0f} s")
    print(f"{sum(map(len, times.values()))} runs, {len(broken)} broken: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
