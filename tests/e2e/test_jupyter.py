"""The images where they are meant to run: in an engine, under any user id, in a browser."""

import functools
import http.server
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import threading
import tomllib
import unittest
import zipfile

import engine
import harness
import notebook
from engine import Container, docker

JUPYTER = "jupyter-datascience"
JUPYTER_13 = "jupyter-datascience-d13"
RUNTIME = "runtime-datascience"
PYTHON = {JUPYTER: "3.11", JUPYTER_13: "3.13", RUNTIME: "3.11"}
# What docker calls each image.
REFERENCES = {}

HOME = "/opt/app-root/src"
TOKEN = "a-token-of-the-tests"
WITH_TOKEN = ("--env", f"JUPYTER_TOKEN={TOKEN}")
# What platforms that give every project its own user id start containers as.
ANY_USER = ("--user", "12345:0")

# How the packages of the bundles are imported.
MODULES = {
    "boto3": "boto3",
    "jupyterlab": "jupyterlab",
    "kafka-python": "kafka",
    "kubernetes": "kubernetes",
    "matplotlib": "matplotlib.pyplot",
    "mysql-connector-python": "mysql.connector",
    "numpy": "numpy",
    "pandas": "pandas",
    "pip": "pip",
    "plotly": "plotly",
    "psycopg": "psycopg",
    "pymongo": "pymongo",
    "pyodbc": "pyodbc",
    "scikit-learn": "sklearn.ensemble",
    "scipy": "scipy.linalg",
    "setuptools": "setuptools",
    "skl2onnx": "skl2onnx",
    "wheel": "wheel",
}


def setUpModule():
    kiln = harness.built()
    for image in [JUPYTER, JUPYTER_13, RUNTIME]:
        kiln.build(image)
        REFERENCES[image] = engine.load(kiln, image, unittest.addModuleCleanup)


def run(image, *options, command):
    """Runs a command in a container of its own; gives what it prints."""
    entry, *arguments = command
    return docker(
        "run", "--rm", *options, "--entrypoint", entry, REFERENCES[image], *arguments
    ).stdout


class Served(unittest.TestCase):
    """JupyterLab over HTTP."""

    def check(self, *options):
        """Starts JupyterLab and does what a notebook needs: log in, write a file, run a cell."""
        container = Container(self, REFERENCES[JUPYTER], *WITH_TOKEN, *options)
        self.assertIn("version", container.answers("/api"))
        self.assertEqual(container.request("/api/contents")[0], 403)
        self.assertEqual(container.request("/api/contents", token="wrong")[0], 403)
        self.assertEqual(container.request("/api/contents", token=TOKEN)[0], 200)
        cell = {
            "cell_type": "code",
            "execution_count": None,
            "id": "sum",
            "metadata": {},
            "outputs": [],
            "source": "print(sum(range(1000)))",
        }
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        body = {"type": "notebook", "content": notebook}
        status, _ = container.request("/api/contents/sum.ipynb", "PUT", TOKEN, body)
        self.assertEqual(status, 201, container.logs())
        container.execute("jupyter", "execute", "--inplace", f"{HOME}/sum.ipynb")
        _, body = container.request("/api/contents/sum.ipynb", token=TOKEN)
        outputs = json.loads(body)["content"]["cells"][0]["outputs"]
        self.assertEqual([output["text"] for output in outputs], ["499500\n"])
        return container

    def test_as_the_user_of_the_image(self):
        container = self.check()
        self.assertEqual(container.execute("id", "-u", "-n"), "default\n")

    def test_as_any_user_with_an_empty_volume_on_the_home(self):
        volume = engine.volume(self)
        container = self.check(*ANY_USER, "--volume", f"{volume}:{HOME}")
        self.assertEqual(container.execute("id", "-u"), "12345\n")
        docker("rm", "--force", container.id)
        # The next pod of the same platform may have another user id.
        command = ["sh", "-c", "echo >> sum.ipynb && ls"]
        options = ["--user", "54321:0", "--volume", f"{volume}:{HOME}"]
        self.assertEqual(run(JUPYTER, *options, command=command), "sum.ipynb\n")

    def test_with_a_read_only_root(self):
        home = ("--volume", f"{engine.volume(self)}:{HOME}")
        container = self.check(*ANY_USER, "--read-only", "--tmpfs", "/tmp", *home)
        refused = docker("exec", container.id, "touch", "/opt/app-root/x", check=False)
        self.assertIn("Read-only file system", refused.stderr)

    def test_where_the_home_cannot_be_written(self):
        options = ["--read-only", "--tmpfs", "/tmp"]
        container = Container(self, REFERENCES[JUPYTER], *WITH_TOKEN, *ANY_USER, *options)
        container.answers("/api")
        _, body = container.request("/api/contents", token=TOKEN)
        self.assertFalse(json.loads(body)["writable"])

    def test_without_a_token_jupyter_makes_one(self):
        container = Container(self, REFERENCES[JUPYTER])
        container.answers("/api")
        self.assertEqual(container.request("/api/contents")[0], 403)
        self.assertEqual(container.request("/api/contents", token="")[0], 403)
        token = re.search(r"token=(\w{32,})", container.logs())[1]
        self.assertEqual(container.request("/api/contents", token=token)[0], 200)

    def test_under_a_prefix(self):
        prefix = "/notebook/ns/name"
        environment = ("--env", f"NB_PREFIX={prefix}")
        container = Container(self, REFERENCES[JUPYTER], *WITH_TOKEN, *environment)
        container.answers(f"{prefix}/api")
        self.assertEqual(container.request("/api")[0], 404)
        status, page = container.request(f"{prefix}/lab", token=TOKEN)
        self.assertEqual(status, 200)
        self.assertIn(f'"baseUrl": "{prefix}/"', page.decode())

    def test_options_from_the_environment_replace_those_of_the_script(self):
        options = "--ServerApp.port=9999 --ServerApp.root_dir=/opt --IdentityProvider.token=other"
        environment = ("--env", f"NOTEBOOK_ARGS={options}")
        container = Container(self, REFERENCES[JUPYTER], *environment, port=9999)
        container.answers("/api")
        _, body = container.request("/api/contents", token="other")
        self.assertEqual([entry["name"] for entry in json.loads(body)["content"]], ["app-root"])

    def test_options_of_the_container_come_after_those_of_the_environment(self):
        container = Container(
            self,
            REFERENCES[JUPYTER],
            "--env",
            "NOTEBOOK_ARGS=--ServerApp.port=9999",
            command=["--ServerApp.base_url=/below", "--IdentityProvider.token=x"],
            port=9999,
        )
        container.answers("/below/api")
        self.assertEqual(container.request("/below/api/contents", token="x")[0], 200)

    def test_sigterm_ends_it_cleanly_with_a_kernel_running(self):
        container = Container(self, REFERENCES[JUPYTER], *WITH_TOKEN)
        container.answers("/api")
        status, body = container.request("/api/kernels", "POST", TOKEN, {"name": "python3"})
        self.assertEqual(status, 201, body)
        # Without an end within this time docker kills it, and the exit code is 137.
        docker("stop", "--time", 30, container.id)
        state = engine.inspect(container.id)["State"]
        self.assertEqual((state["ExitCode"], state["OOMKilled"]), (0, False), container.logs())


class InABrowser(unittest.TestCase):
    def test_a_cell_of_a_new_notebook_draws_a_plot(self):
        home = ("--volume", f"{engine.volume(self)}:{HOME}")
        container = Container(self, REFERENCES[JUPYTER], *WITH_TOKEN, *ANY_USER, *home)
        container.answers("/api")
        picture = notebook.draws_a_plot(self, f"{container.url}/lab?token={TOKEN}")
        (harness.WORK / "jupyter.png").write_bytes(picture)
        if place := os.environ.get("KILN_SCREENSHOT"):
            pathlib.Path(place).write_bytes(picture)


class Packages(unittest.TestCase):
    """What is installed in the images, and what their users install."""

    def test_every_package_of_the_bundles_imports(self):
        family = harness.fresh_family()
        bundles = [family / "bundles" / name / "bundle.toml" for name in harness.BUNDLES]
        files = [*bundles, family / "ides/jupyter/ide.toml"]
        requirements = [
            re.match(r"[\w.-]+", requirement)[0]
            for file in files
            for requirement in tomllib.loads(file.read_text())["requirements"]
        ]
        self.assertEqual(sorted(MODULES), sorted(requirements))
        # setuptools warns when it comes after what it replaces.
        modules = ["setuptools", *MODULES.values()]
        for image in [JUPYTER, JUPYTER_13, RUNTIME]:
            expected = [name for name in modules if name != "jupyterlab" or image != RUNTIME]
            program = f"for name in {expected}: __import__(name); print(name)"
            with self.subTest(image):
                said = run(image, *ANY_USER, command=["python", "-c", program])
                self.assertEqual(said.split(), expected)

    def test_compiled_libraries_work_together(self):
        program = """
import io, numpy, pandas, pyodbc, psycopg, sqlite3, ssl, lzma, bz2, ctypes, zoneinfo
from scipy import linalg
from sklearn.linear_model import LinearRegression
import skl2onnx, matplotlib.pyplot as plot
x = numpy.arange(12.0).reshape(6, 2)
model = LinearRegression().fit(x, x @ [2, 3])
assert numpy.allclose(model.predict(x), x @ [2, 3])
assert skl2onnx.to_onnx(model, x[:1]).SerializeToString()
assert numpy.allclose(linalg.inv(numpy.eye(2) * 2), numpy.eye(2) / 2)
table = pandas.read_sql("select 6 * 7 as answer", sqlite3.connect(":memory:"))
assert table.answer[0] == 42
assert psycopg.pq.version() > 0 and isinstance(pyodbc.drivers(), list)
assert zoneinfo.ZoneInfo("Europe/Berlin")
assert len(ssl.create_default_context().get_ca_certs()) > 50
picture = io.BytesIO()
plot.plot(x); plot.savefig(picture)
assert picture.getvalue().startswith(b"\\x89PNG")
"""
        for image in [JUPYTER, JUPYTER_13, RUNTIME]:
            with self.subTest(image):
                run(image, *ANY_USER, command=["python", "-c", program])

    def test_pip_finds_nothing_wrong(self):
        for image in [JUPYTER, JUPYTER_13, RUNTIME]:
            with self.subTest(image):
                said = run(image, command=["pip", "check"])
                self.assertEqual(said, "No broken requirements found.\n")

    def test_users_install_and_remove_packages(self):
        program = """
set -eu
pip install --quiet --index-url "$1" kiln-sample
python -c 'import kiln_sample; print(kiln_sample.WHAT)'
kiln-sample
head -n 1 /opt/app-root/bin/kiln-sample
pip uninstall --quiet --yes kiln-sample
python -c 'import kiln_sample' 2>&1 | tail -1
"""
        index = serve(self, sample_index())
        for image in [JUPYTER, JUPYTER_13, RUNTIME]:
            for user in [(), ANY_USER]:
                with self.subTest(image, user=user):
                    command = ["sh", "-c", program, "sh", index]
                    said = run(image, *user, "--network", "host", command=command)
                    self.assertEqual(
                        said.splitlines(),
                        [
                            "a sample",
                            "a sample, called",
                            "#!/opt/app-root/bin/python" + PYTHON[image],
                            "ModuleNotFoundError: No module named 'kiln_sample'",
                        ],
                    )

    def test_users_remove_packages_of_the_image_without_a_trace(self):
        program = """
set -eu
python -c 'import kafka'
pip uninstall --quiet --yes kafka-python
find /opt/app-root/lib/python3*/site-packages -maxdepth 1 -iname '*kafka*'
pip check
"""
        said = run(RUNTIME, *ANY_USER, command=["sh", "-c", program])
        self.assertEqual(said, "No broken requirements found.\n")


class Engines(unittest.TestCase):
    """The images in the stores of engines."""

    def test_docker_has_the_image_that_kiln_built(self):
        kiln = harness.built()
        for image in [JUPYTER, JUPYTER_13, RUNTIME]:
            with self.subTest(image):
                config = kiln.config(image)
                loaded = engine.inspect(REFERENCES[image], "image")
                self.assertEqual(loaded["RootFS"]["Layers"], config["rootfs"]["diff_ids"])
                self.assertEqual(loaded["Config"]["User"], "1001:0")
                self.assertEqual(loaded["Config"]["Labels"], config["config"]["Labels"])
                self.assertEqual(loaded["Config"]["Env"], config["config"]["Env"])

    def test_an_image_without_ide_runs_any_command(self):
        reference = REFERENCES[RUNTIME]
        said = docker("run", "--rm", reference, "python", "-c", "print(6 * 7)").stdout
        self.assertEqual(said, "42\n")

    def test_podman_has_the_image_that_kiln_built(self):
        image = "runtime-minimal"
        kiln = harness.built()
        kiln.build(image)
        place = harness.scratch("podman")
        storage = place / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "vfs"\n'
            f'graphroot = "{place / "graph"}"\nrunroot = "{place / "run"}"\n'
        )
        environment = {"CONTAINERS_STORAGE_CONF": str(storage)}
        self.addCleanup(shutil.rmtree, place)

        def podman(*arguments):
            done = subprocess.run(
                ["podman", *arguments],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        reference = kiln.run("load", "podman", image, env=environment).stdout.strip()
        loaded = json.loads(podman("image", "inspect", reference))[0]
        config = kiln.config(image)
        self.assertEqual(loaded["RootFS"]["Layers"], config["rootfs"]["diff_ids"])
        self.assertEqual(loaded["User"], "1001:0")
        self.assertEqual(loaded["Labels"], config["config"]["Labels"])


@functools.cache
def sample_index():
    """A directory that, once served, is an index with one wheel (PEP 503)."""
    index = harness.scratch("index")
    project = index / "kiln-sample"
    project.mkdir()
    info = "kiln_sample-1.0.dist-info"
    files = {
        "kiln_sample.py": "WHAT = 'a sample'\n\n"
        "def main():\n    print(f'{WHAT}, called')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: kiln-sample\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nkiln-sample = kiln_sample:main\n",
    }
    record = f"{info}/RECORD"
    files[record] = "".join(f"{path},,\n" for path in [*files, record])
    with zipfile.ZipFile(project / "kiln_sample-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            wheel.writestr(member, text)
    return index


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(test, directory):
    """Serves a directory on loopback until the test is over; gives its address."""
    handler = functools.partial(QuietFiles, directory=directory)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    test.addCleanup(server.server_close)
    test.addCleanup(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


if __name__ == "__main__":
    unittest.main()
