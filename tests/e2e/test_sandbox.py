"""The sandbox: the same result however it works, and no way out of it.

The commands are those of `[[run]]` tables and of maintainer scripts, as a family has them.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import equality
import harness
import mirror
import processes
import small
import trees
import waiting

FULL = "KILN_E2E_FULL" in os.environ
IS_ROOT = os.geteuid() == 0
SANDBOX, STORAGE = 7, 8  # exit codes, as documented

# No account has this id, so it has no subordinate ids either.
NOBODY = 12345
# An account that is made for these tests; it gets subordinate ids.
ACCOUNT = f"kilntest{os.getpid()}"

# What a command of a family may do to a tree, all of it in one.
CHANGES = """
set -eu
mkdir -p /srv/changes
cd /srv/changes
echo one >file
chown 1001:43 file
chmod 4750 file
ln file name
ln -s file link
chown -h 12:34 link
mkdir -m 2775 shared
chgrp 50 shared
touch shared/inherits
mkdir -m 1777 sticky
chown 33:33 sticky
rm /etc/issue.net
mv /usr/share/doc/openssh-client /usr/share/doc/moved
rm -r /usr/share/doc/python3
mkdir /usr/share/doc/python3
chmod 700 /usr/share/doc/ca-certificates
useradd --system --no-create-home sampler
python3 -c 'import os; os.setxattr("/srv/changes/file", "security.capability", bytes.fromhex(
    "01000002" "00040000" "00000000" "00000000" "00000000"))'
"""
# A delta on the configured base: a group, set-group-id programs, an alternative.
PROBE = 'packages = ["cron", "less"]\nrequirements = ["pip~=26.3.0"]\n' + small.script(
    "/bin/sh", "changes"
)


def setUpModule():
    if IS_ROOT:
        account("useradd", "--create-home", ACCOUNT)
        unittest.addModuleCleanup(account, "userdel", "--remove", ACCOUNT)


def account(*command):
    subprocess.run(command, check=True, capture_output=True)


@functools.cache
def probe():
    """The family of the probe, locked and built: kiln, and what it says of the image."""
    place = harness.scratch("probe") / "family"
    family = small.write_family(place, {"probe": PROBE}, scripts={"changes": CHANGES})
    kiln = harness.Kiln(harness.built().store, family)
    kiln.run("lock")
    return kiln, kiln.build("probe")


class Elsewhere:
    """A store and a family of their own, with the downloads of the shared store, for a user."""

    def __init__(self, family, downloads, user=None, prefix=(), env=()):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="kiln-"))
        shutil.copytree(family, self.place / "family")
        shutil.copy(harness.KILN, self.place / "kiln")
        (self.place / "home").mkdir()
        self.prefix = list(prefix)
        if user is not None:
            for path in [self.place, *self.place.rglob("*")]:
                os.chown(path, user, user)
            self.prefix += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        self.env = {"HOME": str(self.place / "home"), "PATH": os.environ["PATH"], **dict(env)}
        self.run("store", "path")
        target = self.place / "store/downloads/sha256"
        for file in downloads.iterdir():
            os.link(file, target / file.name)

    def run(self, *arguments, check=True):
        command = [*self.prefix, self.place / "kiln", "--store", self.place / "store"]
        command += ["--family", self.place / "family", *arguments]
        done = subprocess.run(
            list(map(str, command)), env=self.env, cwd=self.place, capture_output=True, text=True
        )
        if check and done.returncode != 0:
            said = done.stdout[-2000:] + done.stderr
            raise AssertionError(f"{command} ended with {done.returncode}:\n{said}")
        return done

    def build(self, *arguments):
        done = self.run("--output", "json", "build", *arguments)
        lines = map(json.loads, done.stdout.splitlines())
        return next(line for line in lines if line["event"] == "built")

    def remove(self):
        # Unpacked layers belong to subordinate ids.
        subprocess.run(["rm", "-rf", self.place], check=IS_ROOT)


class SameResult(unittest.TestCase):
    maxDiff = None

    def check(self, **options):
        """A build elsewhere gives the same image."""
        kiln, expected = probe()
        downloads = kiln.store / "downloads/sha256"
        elsewhere = Elsewhere(kiln.family, downloads, **options)
        self.addCleanup(elsewhere.remove)
        found = elsewhere.build("probe")
        self.assertEqual(found["layers"], [{**it, "new": True} for it in expected["layers"]])
        self.assertEqual(found["manifest"], expected["manifest"])

    def test_the_changes_are_what_the_commands_made(self):
        kiln, _ = probe()
        tree = trees.of_layers([blob for blob, _ in kiln.layers("probe")])
        at = lambda path: tree[f"srv/changes/{path}"]
        file = at("file")
        self.assertEqual((file.type, file.mode, file.uid, file.gid), ("file", 0o4750, 1001, 43))
        self.assertEqual(file.links, ("srv/changes/file", "srv/changes/name"))
        self.assertEqual(file.capability[:16], "0100000200040000")
        link = at("link")
        self.assertEqual((link.target, link.uid, link.gid), ("file", 12, 34))
        self.assertEqual((at("shared").mode, at("shared").gid), (0o2775, 50))
        self.assertEqual((at("shared/inherits").uid, at("shared/inherits").gid), (0, 50))
        self.assertEqual((at("sticky").mode, at("sticky").uid), (0o1777, 33))
        documents = "usr/share/doc"
        for path in ["etc/issue.net", f"{documents}/openssh-client"]:
            self.assertNotIn(path, tree)
        self.assertIn("etc/issue", tree)
        self.assertIn(f"{documents}/moved/copyright", tree)
        below = [path for path in tree if path.startswith(f"{documents}/python3/")]
        self.assertEqual(below, [])
        self.assertEqual(tree[f"{documents}/ca-certificates"].mode, 0o700)
        times = {tree[path].mtime for path in tree if path.startswith("srv/")}
        self.assertEqual(times, {315532800})  # 1980-01-01T00:00:00Z
        # The work of maintainer scripts, of the base and of the delta.
        self.assertEqual(tree["usr/bin/ssh-agent"].mode, 0o2755)
        self.assertNotEqual(tree["usr/bin/ssh-agent"].gid, 0)
        self.assertEqual(tree["usr/bin/crontab"].mode, 0o2755)
        self.assertNotEqual(tree["usr/bin/crontab"].gid, 0)
        self.assertEqual(tree["etc/alternatives/pager"].target, "/usr/bin/less")

    @unittest.skipUnless(IS_ROOT, "becomes others")
    def test_of_a_user_with_subordinate_ids(self):
        user = pwd.getpwnam(ACCOUNT).pw_uid
        self.check(user=user, env={"KILN_SANDBOX": "ids=subordinate"})

    @unittest.skipUnless(IS_ROOT, "becomes others")
    def test_of_a_user_without_subordinate_ids(self):
        self.check(user=NOBODY)

    def test_with_copies_instead_of_an_overlay(self):
        self.check(env={"KILN_SANDBOX": "tree=copy"})

    def test_with_a_single_id_and_copies(self):
        user = NOBODY if IS_ROOT else None
        self.check(user=user, env={"KILN_SANDBOX": "ids=single,tree=copy"})

    def test_twice(self):
        kiln, _ = probe()
        again = Elsewhere(kiln.family, kiln.store / "downloads/sha256")
        self.addCleanup(again.remove)
        again.build("--twice", "probe")


class ActionByAction(unittest.TestCase):
    """Remote execution needs no more than this: each action in a fresh process with its encoding, its
    inputs and the results that it reads, in a directory of its own; no store, no family, no network."""

    def test_a_whole_build(self):
        kiln, built = probe()
        *steps, total = [
            line for line in kiln.json("plan", "probe") if "step" in line or "image" in line
        ]
        kinds = {kind for step in steps for kind in step["action"]["kind"]}
        self.assertLessEqual({"pack-debs", "configure", "bytecode", "run"}, kinds)
        place = pathlib.Path(tempfile.mkdtemp(prefix="kiln-"))
        self.addCleanup(shutil.rmtree, place)
        place.chmod(0o755)
        results = place / "results"
        results.mkdir()
        sources = {file.name: file for file in (kiln.store / "downloads/sha256").iterdir()}
        for file in kiln.family.rglob("*"):
            if file.is_file():
                sources[hashlib.sha256(file.read_bytes()).hexdigest()] = file
        known, pending = {}, {step["key"]: step for step in steps}
        while pending:
            ready = [
                key
                for key, step in pending.items()
                if not pending.keys() & (digests(step["action"]) - {key})
            ]
            self.assertTrue(ready, "steps that wait for each other")
            for key in ready:
                action = pending.pop(key)["action"]
                said = self.execute(place, action, known, sources, results)
                self.assertEqual(said["key"], key)
                name = said["digest"].removeprefix("sha256:")
                sources[name] = results / name
                known[key] = said
        layers = [known[steps[step]["key"]]["digest"] for step in total["layers"]]
        self.assertEqual(layers, [layer["digest"] for layer in built["layers"]])

    def execute(self, place, action, known, sources, results):
        """Executes one action; its result goes to `results`. Gives what kiln says of it."""
        here = pathlib.Path(tempfile.mkdtemp(dir=place))
        inputs = here / "inputs"
        inputs.mkdir()
        shutil.copy(harness.KILN, here / "kiln")
        (here / "action").write_text(json.dumps(action))
        needed = digests(action)
        records = [said for key, said in known.items() if key in needed]
        (inputs / "results").write_text("".join(said["record"] for said in records))
        for digest in (needed - known.keys()) | {said["digest"] for said in records}:
            name = digest.removeprefix("sha256:")
            shutil.copy(sources[name], inputs / name)
        # The stores and families of the tests are out of sight.
        script = 'mount -t tmpfs -o ro none "$1"; mount -t tmpfs -o ro none "$2"; shift 2; exec "$@"'
        isolated = ["unshare", "--mount", "--net"] + ["--map-root-user"] * (not IS_ROOT)
        program = [here / "kiln", "action", "exec", here / "action", "--inputs", inputs]
        done = subprocess.run(
            [*isolated, "sh", "-euc", script, "sh", harness.WORK, results]
            + [*program, "--layer", here / "result"],
            env={"PATH": os.environ["PATH"]},
            cwd=here,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, f"{action}\n{done.stderr}")
        said = json.loads(done.stdout)
        (here / "result").rename(results / said["digest"].removeprefix("sha256:"))
        shutil.rmtree(here)
        return said


def digests(action):
    """All digests that an action names."""
    return set(re.findall(r"sha256:[0-9a-f]{64}", json.dumps(action)))


# A library that every program of a system loads first, and in whose world it is another day.
CLOCK = """
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += SHIFT;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed)
        now->tv_sec += SHIFT;
    return failed;
}

time_t time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to)
        *to = now.tv_sec;
    return now.tv_sec;
}
"""
DAYS = 400


class AnotherDay(unittest.TestCase):
    """Maintainer scripts leave no trace of the day when they ran. Their clock cannot be moved, so a
    package of the base brings a library that does, and kiln itself runs under faketime."""

    def build(self, days):
        """Builds an image in `days` days: the layers of maintainer scripts, and the time there."""
        place = harness.scratch("clock")
        source, library = place / "clock.c", place / "clock.so"
        source.write_text(CLOCK)
        shift = f"-DSHIFT={days * 86400}"
        compiler = ["gcc", "-shared", "-fPIC", "-nostdlib", "-O2", shift, "-o", library, source]
        subprocess.run(compiler, check=True)
        world = mirror.Mirror()
        members = [
            mirror.file("./usr/lib/clock.so", library.read_bytes()),
            mirror.file("./etc/ld.so.preload", b"/usr/lib/clock.so\n"),
        ]
        world.deb("clock", members=members)
        world.publish()
        packages = [*small.PACKAGES, "clock"] + ["default-jre-headless"] * FULL
        family = small.write_family(
            place / "family",
            {"clock": 'packages = ["cron"]\n' + small.run("/bin/sh", "-c", "date +%s >/srv/now")},
            packages,
            '[[archive]]\nsource = "clock"\ncomponents = ["main"]\nkeyring = "mirror.asc"\n',
        )
        (family / "keyrings/mirror.asc").write_bytes(mirror.signer().keyring)
        kiln = harness.Kiln(place / "store", family)
        kiln.run("store", "path")
        for file in (harness.built().store / "downloads/sha256").iterdir():
            os.link(file, kiln.store / "downloads/sha256" / file.name)
        env = {"KILN_SOURCE_CLOCK": f"{world.url}/debian"}
        kiln.run("lock", env=env)
        command = ["faketime", "-f", f"+{days}d", harness.KILN, "--store", kiln.store]
        command += ["--family", family, "build", "clock"]
        subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True)
        *steps, total = [
            line
            for line in kiln.json("plan", "clock", env=env)
            if "step" in line or "image" in line
        ]
        kinds = {step["step"]: step["action"]["kind"] for step in steps}
        blobs = [blob for blob, _ in kiln.layers("clock")]
        configured = [
            blob
            for blob, step in zip(blobs, total["layers"], strict=True)
            if "configure" in kinds[step]
        ]
        return configured, int(trees.content_in_layers(blobs, "srv/now"))

    def test_what_maintainer_scripts_change(self):
        (today, now), (later, then) = self.build(0), self.build(DAYS)
        self.assertGreater(then - now, (DAYS - 1) * 86400)
        self.assertEqual(len(today), 2)  # of the base and of the bundle
        for one, other in zip(today, later, strict=True):
            aspects = ["mode", "uid", "gid", "mtime", "content", "target", "links", "capability"]
            pair = [trees.of_layers([blob]) for blob in (one, other)]
            self.assertEqual(list(equality.compare(*pair, ["today", "later"], aspects)), [])
            self.assertEqual(one.name, other.name)


class UserNamespaces(unittest.TestCase):
    """A machine that does not allow them."""

    def run_without(self, *arguments):
        """Runs kiln where the limit of user namespaces is 0; it holds in a namespace only."""
        kiln, _ = probe()
        without = harness.Kiln(harness.scratch("without") / "store", kiln.family)
        without.run("store", "path")
        for file in (kiln.store / "downloads/sha256").iterdir():
            os.link(file, without.store / "downloads/sha256" / file.name)
        command = [harness.KILN, "--store", without.store, "--family", without.family, *arguments]
        script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
        return without, subprocess.run(
            ["unshare", "--user", "--map-root-user", "sh", "-euc", script, "sh", *command],
            capture_output=True,
            text=True,
        )

    def test_the_error_says_what_to_enable(self):
        _, done = self.run_without("build", "probe")
        self.assertEqual(done.returncode, SANDBOX, done.stderr)
        self.assertIn("user namespaces", done.stderr)
        self.assertIn("user.max_user_namespaces", done.stderr)
        self.assertRegex(done.stderr, "hint: .*--pack-only")

    def test_packing_needs_none(self):
        without, done = self.run_without("build", "--pack-only", "probe")
        self.assertEqual(done.returncode, 0, done.stderr)
        without.run("store", "verify")


# A program that tries to leave the sandbox in every way that does not end it, and writes down what
# came of each.
WALLS = """
import ctypes, errno, json, os, shutil, socket, stat, sys, time

libc = ctypes.CDLL(None, use_errno=True)
found = {}


def attempt(name, do, *arguments):
    try:
        found[name] = do(*arguments)
    except OSError as error:
        found[name] = errno.errorcode.get(error.errno, str(error.errno))


def call(name, *arguments):
    function = getattr(libc, name)
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def connect(family, address):
    with socket.socket(family) as it:
        it.settimeout(5)
        it.connect(address)


port, hidden = int(sys.argv[1]), sys.argv[2]
attempt("a server of the host", connect, socket.AF_INET, ("127.0.0.1", port))
attempt("an abstract socket of the host", connect, socket.AF_UNIX, chr(0) + f"kiln-{port}")
attempt("the world", connect, socket.AF_INET, ("192.0.2.1", 80))
found["interfaces"] = [name for _, name in socket.if_nameindex()]
attempt("the host's files", open, hidden)
attempt("the host's files by process 1", open, "/proc/1/root" + hidden)
attempt("mount", call, "mount", b"none", b"/srv", b"tmpfs", 0, None)
attempt("umount", call, "umount2", b"/proc", 2)
attempt("unshare", call, "unshare", 0x10000000)
attempt("ptrace of process 1", call, "ptrace", 16, 1, 0, 0)
attempt("the host's name", socket.sethostname, "other")
attempt("the clock", time.clock_settime, time.CLOCK_REALTIME, 0)
attempt("a device", os.mknod, "/srv/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
attempt("a disk", os.mknod, "/srv/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
attempt("settings of the kernel", write, "/proc/sys/kernel/core_pattern", "|/x")
attempt("SysRq", write, "/proc/sysrq-trigger", "h")
attempt("control groups", os.mkdir, "/sys/fs/cgroup/x")
attempt("kill process 1", os.kill, 1, 9)
found["name"] = socket.gethostname()
found["processes"] = len([name for name in os.listdir("/proc") if name.isdigit()])
found["open files"] = sorted(set(os.listdir("/proc/self/fd")) - {"0", "1", "2", "3"})
found["devices"] = sorted(os.listdir("/dev"))
found["environment"] = sorted(os.environ)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
found["capabilities"] = int(status["CapBnd"], 16)
found["no new privileges or filter"] = int(status["Seccomp"])
# For the capture to follow.
shutil.rmtree("/usr/games")
os.symlink("/", "/usr/games")
os.symlink(hidden, "/srv/hidden")
os.symlink("../../../../../../../../" + hidden, "/srv/dots")
write("/srv/found.json", json.dumps(found))
"""
# What an engine gives a container: capabilities(7) as bits.
DEFAULT_CAPABILITIES = 0x00000000A80425FB
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS"}
# An argument by which a process of these tests is known.
MARK = f"8{os.getpid()}"

ATTACKS = {
    "forks": small.run("/usr/bin/perl", "-e", "fork while 1", MARK),
    "daemon": small.run("/bin/sh", "-c", f"setsid sleep {MARK} & exit 0"),
    "shouts": small.run("/usr/bin/yes", MARK),
    "pipe": small.run("/usr/bin/mkfifo", "/srv/pipe"),
    "fills": small.run("/bin/dd", "if=/dev/zero", "of=/srv/big", "bs=1M"),
    "fails": small.run("/bin/sh", "-c", "echo what it says; touch /srv/left; exit 3"),
    "waits": small.run("/bin/sleep", MARK),
}


@functools.cache
def listeners():
    """A server and an abstract socket of the host: (port, both sockets)."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0kiln-{port}")
    abstract.listen()
    for it in (server, abstract):
        it.setblocking(False)
    return port, (server, abstract)


@functools.cache
def hidden():
    """A file of the host."""
    path = harness.scratch("hidden") / "secret"
    path.write_text("secret")
    return path


@functools.cache
def attacked():
    """kiln with a family in which each attack is an image."""
    port, _ = listeners()
    walls = small.script("/usr/bin/python3", "walls.py", str(port), str(hidden()))
    family = harness.scratch("attacks") / "family"
    small.write_family(family, {"walls": walls, **ATTACKS}, scripts={"walls.py": WALLS})
    kiln = harness.Kiln(harness.built().store, family)
    kiln.run("lock")
    return kiln


class Attacks(unittest.TestCase):
    maxDiff = None

    def assert_fails(self, image, *words):
        done = attacked().run("build", image, check=False)
        self.assertEqual(done.returncode, SANDBOX, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertNotIn("panicked", done.stderr)
        self.assertEqual(processes.with_word(MARK), [])
        return done.stderr

    def test_there_is_no_way_out(self):
        kiln = attacked()
        secret = {"KILN_TEST_SECRET": "secret"}
        kiln.run("build", "walls", env=secret)
        blobs = [blob for blob, _ in kiln.layers("walls")]
        found = json.loads(trees.content_in_layers(blobs, "srv/found.json"))
        for name in ["a server of the host", "an abstract socket of the host"]:
            self.assertEqual(found.pop(name), "ECONNREFUSED", name)
        for listener in listeners()[1]:
            with self.assertRaises(BlockingIOError):
                listener.accept()
        self.assertEqual(found.pop("the world"), "ENETUNREACH")
        self.assertEqual(found.pop("interfaces"), ["lo"])
        self.assertEqual(found.pop("name"), "kiln")
        self.assertLessEqual(found.pop("processes"), 3)
        self.assertEqual(found.pop("open files"), [])
        devices = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
        self.assertLessEqual(set(found.pop("devices")), set(devices.split()))
        self.assertNotIn("KILN_TEST_SECRET", found.pop("environment"))
        self.assertEqual(found.pop("capabilities") & ~DEFAULT_CAPABILITIES, 0)
        self.assertEqual(found.pop("no new privileges or filter"), 2)  # a filter
        # A process cannot end the first of its namespace: pid_namespaces(7).
        self.assertIsNone(found.pop("kill process 1"))
        self.assertEqual({k: v for k, v in found.items() if v not in REFUSED}, {})

    def test_links_are_captured_and_not_followed(self):
        kiln = attacked()
        kiln.build("walls")
        top = trees.of_layers([kiln.layers("walls")[-1][0]])
        games = top["usr/games"]
        self.assertEqual((games.type, games.target), ("symlink", "/"))
        self.assertEqual(top["srv/hidden"].target, str(hidden()))
        self.assertEqual({it.type for it in top.values()}, {"directory", "file", "symlink"})
        files = [path for path, it in top.items() if it.type == "file"]
        self.assertEqual(files, ["srv/found.json"])

    def test_forks_without_end_are_ended(self):
        self.assert_fails("forks", "processes")

    def test_what_goes_on_after_the_command_is_ended_and_named(self):
        self.assert_fails("daemon", "left processes running", "sleep")

    def test_output_without_end_is_ended(self):
        self.assert_fails("shouts", "bytes of output")

    def test_what_a_layer_does_not_hold_is_named(self):
        self.assert_fails("pipe", "/srv/pipe")

    def test_a_command_that_fails_shows_its_last_output_and_its_status(self):
        said = self.assert_fails("fails", "what it says", "exited with status 3")
        self.assertRegex(said, "hint: .*kiln debug [0-9a-f]+")

    def test_an_image_whose_command_fails_does_not_stop_the_others(self):
        kiln = attacked()
        done = kiln.run("build", "fails", "walls", "pipe", check=False)
        self.assertEqual(done.returncode, SANDBOX, done.stderr)
        for word in ["what it says", "exited with status 3", "/srv/pipe", "2 of 3 images"]:
            self.assertIn(word, done.stderr)
        names = re.findall("not built: runtime-([a-z]+)", done.stderr)
        self.assertEqual(sorted(names), ["fails", "pipe"])
        self.assertRegex(done.stdout, r"(?m)^runtime-fails\S+ +not built$")
        self.assertRegex(done.stdout, r"(?m)^runtime-walls\S+ +[0-9a-f]{12} ")
        # `kiln debug` knows the one that ran and failed.
        self.assertIn("fails", kiln.run("debug").stdout)

    def test_a_shell_opens_where_a_command_failed(self):
        kiln = attacked()
        said = self.assert_fails("fails")
        key = re.search("kiln debug ([0-9a-f]+)", said)[1]
        listed = [line for line in kiln.run("debug").stdout.splitlines() if line.startswith(key)]
        self.assertEqual(len(listed), 1)
        typed = "ls /srv; id -u; pwd; tail -n +3 /proc/net/dev; touch /srv/more; exit 5"
        shell = kiln.run("debug", key, input=typed, check=False)
        self.assertEqual(shell.returncode, 5, shell.stderr)
        files, user, place, *networks = shell.stdout.splitlines()
        self.assertEqual((files, user, place), ("left", "0", "/opt/app-root/src"))
        self.assertEqual([it.split(":")[0].strip() for it in networks], ["lo"])
        # It stays as the shell left it, and no build takes it for a result.
        again = kiln.run("debug", key, input="ls /srv")
        self.assertEqual(again.stdout.split(), ["left", "more"])
        self.assert_fails("fails", "what it says")
        anew = kiln.run("debug", key, input="ls /srv")
        self.assertEqual(anew.stdout.split(), ["left"])
        kiln.run("debug", "--discard", key)
        self.assertNotIn(key, kiln.run("debug").stdout)
        gone = kiln.run("debug", key, check=False)
        self.assertEqual(gone.returncode, 2)

    def test_a_disk_is_filled_and_the_store_stays_right(self):
        kiln = attacked()
        place = harness.scratch("small")
        run = f"{harness.KILN} --store {place}/store --family {kiln.family}"
        script = f"""
            mount -t tmpfs -o size=1500m small {place}
            {run} store path
            cp {kiln.store}/downloads/sha256/* {place}/store/downloads/sha256/
            {run} build fills && exit 97
            code=$?
            {run} store verify >&2 || exit 99
            {run} build pipe && exit 96
            exit $code
        """
        command = ["unshare", "--mount"] + ["--map-root-user"] * (not IS_ROOT)
        command += ["sh", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, STORAGE, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.assertIn("hint: the disk of the store is full", done.stderr)
        # What the command wrote is gone, and the next one has room.
        self.assertIn("/srv/pipe", done.stderr)


class Ended(unittest.TestCase):
    """A build that somebody ends takes all its processes along."""

    def ends(self, number):
        kiln = attacked()
        kiln.run("build", "pipe", check=False)  # what is below the command
        command = [harness.KILN, "--store", kiln.store, "--family", kiln.family, "build", "waits"]
        build = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with build, contextlib.ExitStack() as stack:
            stack.callback(build.kill)
            sleeping = lambda: [
                it for it in processes.with_word(MARK) if processes.name(it) == "sleep"
            ]
            waiting.until(sleeping, "the command runs")
            build.send_signal(number)
            code = build.wait(waiting.PATIENCE)
            waiting.until(lambda: not processes.with_word(MARK), "the command has ended")
        return code

    def test_by_an_interrupt(self):
        self.assertEqual(self.ends(signal.SIGINT), 130)

    def test_by_a_kill(self):
        self.assertEqual(self.ends(signal.SIGKILL), -signal.SIGKILL)
        attacked().run("store", "verify")


if __name__ == "__main__":
    unittest.main()
