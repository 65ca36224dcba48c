"""Docker as a user would type it; what a test starts there is gone when the test is over."""

import contextlib
import fcntl
import json
import subprocess
import urllib.error
import urllib.request

import harness
import waiting

# Proxies of the machine have no part in talking to a container.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def docker(*arguments, check=True, **options):
    """Runs docker; gives the finished process with text output."""
    done = subprocess.run(
        ["docker", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"docker {arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def load(kiln, image, cleanup):
    """Hands an image of kiln's store to docker; gives its reference.

    It is removed again through `cleanup`, unless docker had it before this run, by whoever of the tests that run
    side by side is the last to use it.
    """
    name = kiln.json("inspect", image)[0]["image"]
    with users(name) as counted:
        known = docker("image", "ls", "--quiet", "--filter", f"reference=*/*:{name}").stdout
        reference = kiln.run("load", "docker", image).stdout.strip()
        if known and not counted:
            return reference
        counted.append(reference)
    cleanup(unload, name)
    return reference


def unload(name):
    with users(name) as counted:
        reference = counted.pop()
        if not counted:
            docker("image", "rm", "--force", reference)


@contextlib.contextmanager
def users(name):
    """One reference for each test that uses an image, in any process of this run, while nobody else changes that."""
    directory = harness.WORK / "engine"
    directory.mkdir(exist_ok=True)
    with open(directory / name, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        counted = file.read().splitlines()
        yield counted
        file.seek(0)
        file.truncate()
        file.writelines(f"{line}\n" for line in counted)


def volume(test):
    """A new, empty volume."""
    name = docker("volume", "create").stdout.strip()
    test.addCleanup(docker, "volume", "rm", "--force", name)
    return name


def inspect(what, kind="container"):
    return json.loads(docker("inspect", "--type", kind, what).stdout)[0]


class Container:
    """A container that runs until the test is over."""

    def __init__(self, test, reference, *options, command=(), port=8888):
        done = docker(
            "run", "--detach", "--publish", f"127.0.0.1::{port}", *options, reference, *command
        )
        self.id = done.stdout.strip()
        test.addCleanup(docker, "rm", "--force", "--volumes", self.id)
        bindings = inspect(self.id)["NetworkSettings"]["Ports"].get(f"{port}/tcp")
        if not bindings:
            raise AssertionError(f"the container ended at once:\n{self.logs()}")
        self.url = f"http://127.0.0.1:{bindings[0]['HostPort']}"

    def logs(self):
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def execute(self, *command, **options):
        return docker("exec", self.id, *command, **options).stdout

    def request(self, path, method="GET", token=None, body=None):
        """One HTTP request; gives the status and the body, or (None, None) without an answer."""
        request = urllib.request.Request(self.url + path, method=method)
        if token is not None:
            request.add_header("Authorization", f"token {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with HTTP.open(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                return error.code, error.read()
        except OSError:
            return None, None

    def answers(self, path):
        """Waits until `path` is served; gives what it says."""

        def served():
            if not inspect(self.id)["State"]["Running"]:
                raise AssertionError(f"the container ended:\n{self.logs()}")
            status, body = self.request(path)
            return body if status == 200 else None

        return json.loads(waiting.until(served, f"{path} is served", explain=self.logs))
