"""A Docker of a newer Debian, with the containerd image store, beside the machine's own.

kiln packs it; it runs in a changed root, with data and a socket of its own, until the test is over. It
has no network.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import harness
import small
import trees
import waiting

START = """
set -eu
mount --bind "$1" "$1"
cd "$1"
for directory in proc sys dev; do mount --rbind "/$directory" "$directory"; done
exec chroot . /usr/sbin/dockerd --host unix:///run/docker.sock --bridge none --iptables=false --ip6tables=false
"""


class NewerDocker:
    def __init__(self, test):
        # Paths of sockets are short.
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="kiln-"))
        test.addCleanup(self.remove)
        self.root = self.place / "root"
        trees.Unpacked(self.root).unpack(*self.packed())
        (self.root / "etc/docker").mkdir(parents=True, exist_ok=True)
        features = {"features": {"containerd-snapshotter": True}}
        (self.root / "etc/docker/daemon.json").write_text(json.dumps(features))
        self.log = self.place / "log"
        # It and all that it starts are gone when its process ids and mounts are.
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, "sh", "-euc", START, "sh", self.root], stdout=log, stderr=log
            )
        self.command = ["docker", "--host", f"unix://{self.root}/run/docker.sock"]
        waiting.until(self.answers, "the newer Docker answers", explain=self.log.read_text)

    def packed(self):
        family = harness.scratch("newer-docker") / "family"
        packages = ["ca-certificates", "containerd", "docker.io", "python3"]
        small.write_family(family, {"docker": ""}, packages=packages, base="debian-13")
        kiln = harness.Kiln(harness.built().store, family)
        kiln.run("lock")
        kiln.build("docker", "--pack-only")
        return [blob for blob, _ in kiln.layers("docker")]

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the newer Docker ended:\n{self.log.read_text()}")
        done = self.run("info", "--format", "{{json .DriverStatus}}", check=False)
        return done.stdout if done.returncode == 0 else ""

    def run(self, *arguments, check=True):
        return subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=check)

    def remove(self):
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.place)
