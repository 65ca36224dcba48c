"""Several processes in one store, and a store that is copied meanwhile."""

import subprocess

from .run import sleep


def together(run):
    """Two to four builds at once, one of them killed, with a collection and a verification beside."""
    run.begin()
    work = [("build", run.world.image)] * run.random.randrange(2, 5)
    beside = [("store", "gc"), ("store", "verify"), ("store", "gc", "--dry-run"), ("images",)]
    work += run.random.sample(beside, run.random.randrange(len(beside) + 1))
    run.random.shuffle(work)
    builds, others = [], []
    for arguments in work:
        process = run.start(*arguments)
        (builds if arguments[0] == "build" else others).append(process)
        sleep(run.random.choice([0, 0, run.instant() / 2]))
    victim = run.random.choice([None, *builds])
    run.note(f"{[' '.join(it.arguments) for it in run.started]}, killed {victim and victim.name}")
    if victim:
        sleep(run.instant() / 2)
        run.kill(victim)
    for process in [*builds, *others]:
        run.end(process, must_succeed=process is not victim)


def copied(run):
    """The store is copied while a build is at work in it; what follows is done in the copy."""
    run.begin()
    original, run.store = run.store, run.place / "copy"
    build = run.build(store=original)
    after = run.instant()
    run.note(f"copied after {after:.3f} s")
    sleep(after)
    original.mkdir(exist_ok=True)
    # It complains of files that vanish under it, and copies the others.
    subprocess.run(["cp", "--archive", original, run.store], stderr=subprocess.DEVNULL)
    run.end(build, must_succeed=True)
