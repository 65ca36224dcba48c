"""`kiln run` and `kiln shell`: images started without an engine."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

import engine
import harness
import notebook
import processes
import small
import waiting
from engine import Container, docker

FULL = "KILN_E2E_FULL" in os.environ
IMAGE = harness.IMAGE
HOME = "/opt/app-root/src"
# /proc/net/tcp, see proc(5): 127.0.0.1, and the state of a socket that listens.
LOOPBACK, LISTENS = "0100007F", "0A"


class Running:
    """`kiln run` of an IDE, which runs until the test is over."""

    def __init__(self, test, *options, kiln=None):
        kiln = kiln or harness.built()
        command = [harness.KILN, "--store", kiln.store, "--family", kiln.family, "--output", "json"]
        self.log = open(harness.scratch("run") / "log", "w+")
        test.addCleanup(self.log.close)
        self.process = subprocess.Popen(
            list(map(str, [*command, "run", *options, IMAGE])),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            # Signals of a terminal reach all processes of a group: this one is its own.
            process_group=0,
        )
        test.addCleanup(self.process.stdout.close)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        # It says where it is when it listens; that ends with the process.
        line = self.process.stdout.readline()
        test.assertTrue(line, self.said())
        self.url = json.loads(line)["url"]
        address, self.token = self.url.split("/lab?token=")
        self.port = int(address.rpartition(":")[2])

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def status(self, path, token=None):
        """The status of an HTTP request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            request.add_header("Authorization", f"token {token}")
        try:
            with engine.HTTP.open(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                return error.code


def listening(port):
    """The addresses on which somebody listens on a port, of both protocols."""
    found = set()
    for table in ["/proc/net/tcp", "/proc/net/tcp6"]:
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if line.split()[3] == LISTENS and int(number, 16) == port:
                found.add(address)
    return found


def run(*arguments, check=True, **options):
    """`kiln run`; gives the finished process."""
    kiln = harness.built()
    command = [harness.KILN, "--store", kiln.store, "--family", kiln.family, "run", *arguments]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, **{"input": "", **options}
    )
    if check and done.returncode != 0:
        raise AssertionError(f"kiln run {arguments} ended with {done.returncode}:\n{done.stderr}")
    return done


def port_8888():
    """The port that JupyterLab prefers, taken; what another test has just ended may hold it still."""
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", 8888))


class Jupyter(unittest.TestCase):
    def test_a_cell_draws_a_plot_and_an_interrupt_leaves_nothing(self):
        home = harness.scratch("home")
        home.chmod(0o777)  # of whoever runs the tests; the image has a user of its own
        running = Running(self, "--volume", f"{home}:{HOME}")
        self.assertEqual(listening(running.port), {LOOPBACK})
        self.assertGreaterEqual(len(running.token), 32)
        for token, status in [(None, 403), ("wrong", 403), (running.token, 200)]:
            self.assertEqual(running.status("/api/contents", token), status, token)
        notebook.draws_a_plot(self, running.url)
        self.assertTrue(list(home.glob("*.ipynb")))

        inside = processes.below(running.process.pid)
        self.assertTrue(any("jupyter" in processes.line(it) for it in inside), inside)
        running.process.send_signal(signal.SIGINT)
        code = running.process.wait(waiting.PATIENCE)
        self.assertIn(code, [0, 130], running.said())
        left = lambda: [it for it in inside if processes.alive(it)]
        waiting.until(lambda: not left(), "all processes have ended", explain=left)
        self.assertEqual(listening(running.port), set())
        mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        self.assertNotIn(str(harness.built().store), mounts)

    def test_a_port_that_is_taken_is_left_alone(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(waiting.until(port_8888, "port 8888 can be taken"))
            running = Running(self)
            self.assertNotEqual(running.port, 8888)
            self.assertEqual(running.status("/api/contents", running.token), 200)

    def test_with_a_read_only_root(self):
        running = Running(self, "--read-only")
        self.assertEqual(running.status("/api/contents", running.token), 200)


class Programs(unittest.TestCase):
    def test_the_status_is_that_of_the_program(self):
        for script, status in [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 128 + 15)]:
            with self.subTest(script):
                done = run(IMAGE, "--", "sh", "-c", script, check=False)
                self.assertEqual(done.returncode, status, done.stderr)

    def test_a_program_reads_and_writes_what_kiln_does(self):
        program = "cat; echo aside >&2"
        done = run(IMAGE, "--", "sh", "-c", program, input="through\n")
        self.assertEqual((done.stdout, done.stderr), ("through\n", "aside\n"))

    def test_it_is_the_user_of_the_image_unless_said_otherwise(self):
        program = ["sh", "-c", "id -u; id -g; touch /tmp/x /opt/app-root/x; stat -c %u:%g /tmp/x"]
        for options, uid, gid in [
            ([], 1001, 0),
            (["--user", "12345"], 12345, 0),
            (["--user", "12345:0"], 12345, 0),
            (["--user", "1000660000:0"], 1000660000, 0),
        ]:
            with self.subTest(options):
                said = run(*options, IMAGE, "--", *program).stdout.split()
                self.assertEqual(said, [str(uid), str(gid), f"{uid}:{gid}"])

    def test_environment_volumes_and_directory(self):
        place = harness.scratch("volume")
        place.chmod(0o777)
        (place / "given").write_text("given\n")
        script = "echo $ONE $TWO $PWD; cat given; echo made >made; echo no >/mnt/x"
        options = ["--env", "ONE=1", "--env", "TWO", "--workdir", "/srv/data"]
        options += ["--volume", f"{place}:/srv/data", "--volume", f"{place}:/mnt:ro"]
        environment = {**os.environ, "TWO": "2", "THREE": "3"}
        done = run(*options, IMAGE, "--", "sh", "-c", script, env=environment, check=False)
        self.assertEqual(done.stdout, "1 2 /srv/data\ngiven\n")
        self.assertIn("Read-only file system", done.stderr)
        self.assertEqual((place / "made").read_text(), "made\n")
        self.assertNotIn("THREE", run(IMAGE, "--", "env", env=environment).stdout)

    def test_nothing_of_a_run_stays(self):
        run(IMAGE, "--", "sh", "-c", "touch /opt/app-root/here /opt/app-root/src/there")
        said = run(IMAGE, "--", "sh", "-c", "ls /opt/app-root /opt/app-root/src").stdout
        self.assertNotRegex(said, "here|there")

    def test_the_network_is_the_hosts(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        program = f"import socket; socket.create_connection({server.getsockname()!r}).send(b'hello')"
        run(IMAGE, "--", "python", "-c", program)
        connection, _ = server.accept()
        with connection:
            self.assertEqual(connection.recv(100), b"hello")

    def test_a_shell_runs_what_it_reads(self):
        kiln = harness.built()
        command = [harness.KILN, "--store", kiln.store, "--family", kiln.family, "shell", IMAGE]
        script = "python -c 'print(6 * 7)'; exit 3\n"
        done = subprocess.run(command, input=script, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (3, "42\n"), done.stderr)


class FirstStart(unittest.TestCase):
    """A container that starts for the first time compiles nothing."""

    def test_no_bytecode_is_written(self):
        reference = engine.load(harness.built(), IMAGE, self.addCleanup)
        for user in [(), ("--user", "12345:0")]:
            with self.subTest(user=user):
                options = ["--env", "JUPYTER_TOKEN=x", *user]
                container = Container(self, reference, *options)
                container.answers("/api")
                self.assertEqual(container.request("/lab", token="x")[0], 200)
                # A kernel, and what a first notebook imports.
                imports = "import numpy, pandas, matplotlib.pyplot, sklearn.linear_model, scipy.stats"
                container.execute("python", "-c", imports)
                container.execute("python", "-m", "ipykernel", "--version")
                changes = docker("diff", container.id).stdout.splitlines()
                self.assertTrue(changes)
                self.assertEqual([it for it in changes if it.endswith((".pyc", "__pycache__"))], [])

    def test_it_starts_with_a_read_only_root(self):
        reference = engine.load(harness.built(), IMAGE, self.addCleanup)
        options = ["--read-only", "--tmpfs", "/tmp", "--env", "JUPYTER_TOKEN=x"]
        container = Container(self, reference, *options)
        container.answers("/api")


@unittest.skipUnless(FULL, "an image of 2 GB")
class Languages(unittest.TestCase):
    """What needs the work of maintainer scripts: alternatives, key stores, caches."""

    PACKAGES = [
        "default-jdk-headless",
        "fontconfig",
        "fonts-dejavu-core",
        "fonts-liberation",
        "libopenblas0-pthread",
        "python3",
        "python3-numpy",
        "r-base-core",
    ]

    @classmethod
    @functools.cache
    def kiln(cls):
        family = harness.scratch("languages") / "family"
        bundle = 'requirements = ["matplotlib~=3.11.0"]\n'
        small.write_family(family, {"languages": bundle}, cls.PACKAGES)
        kiln = harness.Kiln(harness.built().store, family)
        kiln.run("lock")
        kiln.build("languages")
        return kiln

    def said(self, *command):
        # Volumes are not needed for what a program can be given as its input.
        return self.kiln().run("run", "languages", "--", *command).stdout

    def test_java(self):
        program = """
            public class Sum {
                public static void main(String[] arguments) throws Exception {
                    var store = java.security.KeyStore.getInstance(
                        new java.io.File("/etc/ssl/certs/java/cacerts"), "changeit".toCharArray());
                    System.out.println(java.util.stream.IntStream.range(0, 1000).sum());
                    System.out.println(store.size() > 100);
                }
            }
        """
        place = harness.scratch("java")
        place.chmod(0o755)
        (place / "Sum.java").write_text(program)
        done = self.kiln().run(
            "run", "--volume", f"{place}:/mnt:ro", "languages", "--", "java", "/mnt/Sum.java"
        )
        self.assertEqual(done.stdout, "499500\ntrue\n")

    def test_r(self):
        program = "m <- lm(y ~ x, data.frame(x = 1:9, y = 3 * (1:9) + 1)); cat(round(coef(m)), '\\n')"
        self.assertEqual(self.said("Rscript", "-e", program).split(), ["1", "3"])
        self.assertIn("openblas", self.said("Rscript", "-e", "cat(extSoftVersion()['BLAS'])"))

    def test_numpy_with_the_blas_that_the_alternatives_choose(self):
        program = (
            "import numpy; a = numpy.arange(9.0).reshape(3, 3) + numpy.eye(3); "
            "assert numpy.allclose(a @ numpy.linalg.inv(a), numpy.eye(3)); "
            "print({line.split('/')[-1].strip() for line in open('/proc/self/maps') if 'blas' in line})"
        )
        self.assertIn("libopenblas", self.said("/usr/bin/python3", "-c", program))

    def test_matplotlib_with_the_fonts_that_fontconfig_knows(self):
        program = (
            "from matplotlib import font_manager, pyplot; "
            "print(font_manager.findfont('Liberation Sans', fallback_to_default=False)); "
            "pyplot.rcParams['font.family'] = 'Liberation Sans'; "
            "pyplot.plot([1, 2]); pyplot.savefig('/tmp/x.png')"
        )
        self.assertRegex(self.said("python", "-c", program), r"^/usr/share/fonts/.*Liberation")
        self.assertIn("DejaVu", self.said("fc-match", "sans-serif"))


if __name__ == "__main__":
    unittest.main()
