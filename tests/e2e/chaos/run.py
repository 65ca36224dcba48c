"""One run: a store of its own, the processes that it starts, and its chance."""

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import time

import harness
import processes

from . import worlds

# Nothing here takes so long on any machine; what does, hangs.
PATIENCE = 120
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


class Broken(AssertionError):
    """A promise was not kept."""


def adopt_orphans():
    """Makes this process the parent of descendants whose own has died: so they are found."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Run:
    """A world, a store and a generator; faults act on it and write down what they did."""

    def __init__(self, world, fault, seed, number):
        self.world = world
        self.random = random.Random(f"{seed}:{fault}:{number}")
        self.place = harness.scratch("run")
        self.store = self.place / "store"
        self.notes = []
        self.seed = None
        self.strangers = set(processes.below(os.getpid()))
        self.started = []
        self.cleanup = contextlib.ExitStack()

    def note(self, text):
        self.notes.append(str(text))

    def begin(self, *seeds, store=None):
        """Makes the store from one of these seeds, or of all in which something is to be built."""
        self.seed = self.random.choice(seeds or [it for it in self.world.seeds if it != "built"])
        self.note(f"from {self.seed}")
        found = self.world.seeds[self.seed]
        if found is not None:
            worlds.clone(found, store or self.store)

    def instant(self):
        """An instant of a build, in seconds from its start."""
        return self.random.uniform(0, 1.1 * self.world.takes[self.seed])

    def start(self, *arguments, prefix=(), env=None, store=None):
        """Starts kiln in a session of its own."""
        command = [*prefix, harness.KILN, "--store", store or self.store, "--family", self.world.family]
        process = subprocess.Popen(
            list(map(str, [*command, "--output", "json", *arguments])),
            env={**os.environ, **self.world.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=open(self.place / f"out-{len(self.started)}", "w+"),
            stderr=open(self.place / f"err-{len(self.started)}", "w+"),
            start_new_session=True,
        )
        process.arguments = arguments
        process.name = len(self.started)
        self.started.append(process)
        return process

    def build(self, **options):
        return self.start("build", self.world.image, **options)

    def printed(self, process):
        return (self.place / f"out-{process.name}").read_text(errors="replace")

    def said(self, process):
        """All that kiln said, errors too."""
        return (self.place / f"err-{process.name}").read_text(errors="replace") + self.printed(process)

    def end(self, process, must_succeed=False, may_end=(), mute=False):
        """Waits for kiln; what it says of itself must be true. `may_end` lists further exit codes; who is
        `mute` need not say why it failed.
        """
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"{process.arguments} hangs:\n{self.said(process)}") from None
        said = self.said(process)
        if code in may_end:
            return code
        if "panicked" in said or code == 70 or (code < 0 and code != -signal.SIGKILL):
            raise Broken(f"{process.arguments} ended with {code}:\n{said}")
        if must_succeed and code != 0:
            raise Broken(f"{process.arguments} failed with {code}:\n{said}")
        if code == 0 and process.arguments[0] == "build":
            self.check_digest(process)
        if code > 0 and not mute and '"event":"failed"' not in said:
            raise Broken(f"{process.arguments} ended with {code} and said nothing:\n{said}")
        return code

    def check_digest(self, process):
        lines = map(json.loads, self.printed(process).splitlines())
        found = [line["manifest"] for line in lines if line["event"] == "built"]
        if found != [self.world.right]:
            raise Broken(f"built {found}, not {self.world.right}")

    def kiln(self, *arguments, **options):
        """Runs kiln, which must succeed; gives what it printed."""
        process = self.start(*arguments, **options)
        self.end(process, must_succeed=True)
        return self.printed(process)

    def kill(self, process, number=signal.SIGKILL, group=True):
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)

    def theirs(self):
        """The processes that this run has brought and that are alive."""
        mine = {it for it in processes.below(os.getpid()) if processes.alive(it)}
        return mine - self.strangers

    def close(self, keep):
        """Ends what is left of a run that failed, and removes what it wrote."""
        for process in self.started:
            if process.poll() is None:
                self.kill(process)
                process.wait()
        for it in self.theirs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(it, signal.SIGKILL)
        for it in processes.below(os.getpid()):
            if it not in self.strangers:  # orphans that have ended are ours to wait for
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(it, os.WNOHANG)
        self.cleanup.close()
        if not keep:
            shutil.rmtree(self.place, ignore_errors=True)


def sleep(seconds):
    """Lets the build go on for so long: the instant of a fault, nothing is waited for."""
    time.sleep(seconds)
