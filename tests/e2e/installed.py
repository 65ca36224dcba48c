"""A program for the Python of an image: what is installed there, and whether it works.

    installed.py SEED DIRECTORY

writes `said.json` into the directory: what `pip check` and `importlib.metadata` say, what does not
agree with the files of RECORD, which modules cannot be imported; and, when a tenth of the projects
is uninstalled, chosen by the seed, what that left behind and what it took away too much.
"""

import base64
import csv
import hashlib
import importlib
import importlib.metadata
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import sysconfig

PREFIX = pathlib.Path(sys.prefix)
SITE = pathlib.Path(sysconfig.get_path("purelib"))
# `name.py`, `name.so`, `name.abi3.so`, `name.cpython-311-x86_64-linux-gnu.so`
MODULE = re.compile(r"([^\W\d]\w*)(\.py|(\.abi3|\.cpython-\w+-x86_64-linux-gnu)?\.so)", re.ASCII)


def rows(distribution):
    """The rows of RECORD: path from the prefix, hash, size."""
    text = distribution.read_text("RECORD")
    for path, digest, size in csv.reader(text.splitlines()):
        yield os.path.relpath(os.path.normpath(SITE / path), PREFIX), digest, size


def files():
    """The paths of all that is no directory below the prefix."""
    return {
        os.path.relpath(os.path.join(directory, name), PREFIX)
        for directory, directories, names in os.walk(PREFIX)
        for name in names + [it for it in directories if os.path.islink(f"{directory}/{it}")]
    }


def wrong_rows(distribution):
    """The rows of RECORD that do not say what is there."""
    own = f"{distribution.files[0].parts[0]}/RECORD"
    for path, digest, size in rows(distribution):
        if not (PREFIX / path).is_file():
            yield f"{path}: missing"
            continue
        if not digest:
            if not path.endswith((".dist-info/RECORD", ".pyc")):
                yield f"{path}: without hash"
            continue
        content = (PREFIX / path).read_bytes()
        name, _, expected = digest.partition("=")
        found = base64.urlsafe_b64encode(hashlib.new(name, content).digest()).rstrip(b"=")
        if found.decode() != expected.rstrip("=") or str(len(content)) != size:
            yield f"{path}: other content"


def modules(paths):
    """The names of the uppermost modules among these files. A directory without `__init__` is a
    namespace, and what counts is below it."""
    tree = {}
    for path in paths:
        *directories, name = pathlib.PurePath(path).parts
        if all(it.isidentifier() and it != "__pycache__" for it in directories) and (
            module := MODULE.fullmatch(name)
        ):
            below = tree
            for it in directories if module[1] == "__init__" else [*directories, module[1]]:
                below = below.setdefault(it, {})
            below["__init__"] = {}
    pending = [("", tree)]
    while pending:
        prefix, names = pending.pop()
        for name, below in names.items():
            if "__init__" in below:
                yield prefix + name
            else:
                pending.append((f"{prefix}{name}.", below))


def not_importable(names):
    """What cannot be imported: name → error. What fails among others is tried alone."""
    errors = {}
    for name in sorted(names):
        print(name, file=sys.stderr, flush=True)  # the last line names what ends the process
        try:
            importlib.import_module(name)
        except BaseException:  # also what asks to exit
            done = run(sys.executable, "-c", f"import {name}")
            if done.returncode != 0:
                errors[name] = done.stdout.splitlines()[-1]
    return errors


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pip(*arguments):
    done = run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)
    return done.returncode, done.stdout


def compiled(path):
    """Where the compiled form of a module is."""
    it = pathlib.PurePath(path)
    return f"{it.parent}/__pycache__/{it.stem}.{sys.implementation.cache_tag}.pyc"


def uninstall(distributions, seed):
    """Uninstalls a random tenth; gives what was uninstalled, what is left of it, and what is gone of
    the rest."""
    names = sorted(it.name for it in distributions if it.name != "pip")
    chosen = random.Random(seed).sample(names, max(1, len(names) // 10))
    owned, others = set(), set()
    for it in distributions:
        paths = {path for path, _, _ in rows(it)}
        paths |= {compiled(path) for path in paths if path.endswith(".py")}
        (owned if it.name in chosen else others).update(paths)
    before = files()
    status, said = pip("uninstall", "--yes", *chosen)
    after = files()
    return {
        "names": chosen,
        "failed": said if status else None,
        "left": sorted((owned - others) & after),
        # pip removes a file of two projects with the first one.
        "lost": sorted(before - owned - after),
        "new": sorted(after - before),
    }


def main():
    seed, place = sys.argv[1:]
    distributions = list(importlib.metadata.distributions(path=[str(SITE)]))
    paths = {path for it in distributions for path, _, _ in rows(it)}
    site = os.path.relpath(SITE, PREFIX)
    importable = {os.path.relpath(it, site) for it in paths if it.startswith(f"{site}/")}
    said = {
        "check": pip("check"),
        "versions": sorted([it.name, it.version] for it in distributions),
        "entry_points": {
            it.name: sorted([point.group, point.name, point.value] for point in it.entry_points)
            for it in distributions
        },
        "installers": sorted({it.read_text("INSTALLER") for it in distributions}),
        "direct": [it.name for it in distributions if it.read_text("direct_url.json")],
        "wrong_rows": [row for it in distributions for row in wrong_rows(it)],
        "unowned": sorted(files() - paths - set(map(compiled, paths))),
        "errors": not_importable(modules(importable)),
        "uninstalled": uninstall(distributions, seed),
    }
    pathlib.Path(place, "said.json").write_text(json.dumps(said))
    os._exit(0)  # whatever threads and hooks of the imported modules think of it


if __name__ == "__main__":
    main()
