"""BuildKit, inside a Docker daemon of its own, and buildah: images built and pushed.

"Pushed" means to the loopback registry, which keeps nothing: layers are compressed as each engine does
it by default, with as many threads as it takes.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from measure import Failed, measured, total
from ours import settled

# Debian's client holds BuildKit; newer ones want a plug-in for it.
DOCKER = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
PATIENCE = 60


class Engine:
    """What both have in common. Each says what its commands are: `build`, `push`, `inspect`."""

    daemons = ()
    env = None

    def __init__(self, work, server):
        self.work, self.server = work, server
        self.last = None

    def reference(self, tag):
        return f"{self.server.address}/kiln-bench:{tag}"

    def build_command(self, tag, text, context):
        place = self.work / f"Containerfile-{self.name}-{tag}"
        place.write_text(text)
        return self.build(self.reference(tag), place, context)

    def provide(self, tag, text, context):
        """Has an image that others stand on, here and in the registry."""
        if not self.has(tag):
            self.run(self.build_command(tag, text, context))
        self.run(self.push(self.reference(tag)))

    def has(self, tag):
        with contextlib.suppress(Failed):
            self.run(self.inspect(self.reference(tag)))
            return True
        return False

    def image(self, tag, text, context):
        """Builds and pushes an image; its new layers are the registry's new bytes."""
        self.last = (tag, text, context)
        before = self.server.pushed()
        account = {"daemons": self.daemons, "env": self.env}
        build = settled(self.build_command(tag, text, context), **account)
        push = measured(self.push(self.reference(tag)), **account)
        sample = total([build, push])
        sample["build"], sample["push"] = build["seconds"], push["seconds"]
        sample["new"] = self.server.pushed() - before
        return sample

    def again(self):
        """The last image once more, with nothing changed."""
        return self.image(*self.last)

    def run(self, command):
        """Runs what is not measured. What it says is shown if it fails."""
        command = list(map(str, command))
        env = {**os.environ, **(self.env or {})}
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        if done.returncode != 0:
            raise Failed(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


class BuildKit(Engine):
    """A Docker daemon with its own data, so that what it does can be counted."""

    name = "buildkit"

    def __init__(self, work, server):
        super().__init__(work, server)
        # Paths of sockets must be short.
        self.run_root = pathlib.Path(tempfile.mkdtemp(prefix="kb-"))
        socket = f"unix://{self.run_root}/docker.sock"
        self.env = {"DOCKER_BUILDKIT": "1", "DOCKER_HOST": socket}
        command = ["dockerd", "--data-root", work / "docker", "--exec-root", self.run_root / "exec"]
        command += ["--pidfile", self.run_root / "pid", "--host", socket, "--bridge=none"]
        command += ["--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        self.log = open(work / "dockerd.log", "w")
        self.daemon = subprocess.Popen(
            list(map(str, command)), stdout=self.log, stderr=subprocess.STDOUT
        )
        self.daemons = [self.daemon.pid]
        self.wait()

    def wait(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.daemon.poll() is None:
            with contextlib.suppress(Failed):
                return self.run([DOCKER, "info"])
            time.sleep(0.2)
        raise SystemExit(f"dockerd does not answer: see {self.log.name}")

    def close(self):
        self.daemon.terminate()
        self.daemon.wait()
        self.log.close()
        shutil.rmtree(self.run_root)

    def build(self, reference, place, context):
        command = [DOCKER, "build", "-q", "--network=host", "-t", reference, "-f", place]
        return [*command, context]

    def push(self, reference):
        return [DOCKER, "push", "-q", reference]

    def inspect(self, reference):
        return [DOCKER, "image", "inspect", reference]

    def forget(self, tag):
        """Removes an image and what was kept to build it faster, but not cache mounts."""
        with contextlib.suppress(Failed):
            self.run([DOCKER, "image", "rm", "-f", self.reference(tag)])
        self.run([DOCKER, "builder", "prune", "-f", "--filter", "type=regular"])


class Buildah(Engine):
    """buildah with storage of its own."""

    name = "buildah"

    def __init__(self, work, server):
        super().__init__(work, server)
        self.storage = work / "buildah"
        (self.storage / "tmp").mkdir(parents=True, exist_ok=True)
        # Cache mounts live there.
        self.env = {"TMPDIR": str(self.storage / "tmp")}

    def close(self):
        pass

    def command(self, *arguments):
        roots = ["--root", self.storage / "root", "--runroot", self.storage / "run"]
        return ["buildah", *roots, "--storage-driver", "overlay", *arguments]

    def build(self, reference, place, context):
        options = ["--network=host", "--pull=never", "-q", "-t", reference, "-f", place]
        return self.command("build", *options, context)

    def push(self, reference):
        return self.command("push", "-q", "--tls-verify=false", reference)

    def inspect(self, reference):
        return self.command("inspect", "--type", "image", reference)

    def forget(self, tag):
        with contextlib.suppress(Failed):
            self.run(self.command("rmi", "-f", self.reference(tag)))
        self.run(self.command("rmi", "--prune"))
