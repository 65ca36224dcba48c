"""What engines build from: Containerfiles and their contexts, as is best practice.

OS packages are installed in one RUN and Python packages in a second, with cache mounts, from the exact
archives of the lock. Lists of packages are bound from the context, so a changed one runs its RUN again.
"""

import shutil
import tomllib
import zipfile

from ours import remove

SYSTEM = """\
RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt/lists \\
    --mount=type=bind,source=packages.txt,target=/packages.txt \\
    : {round} && echo "deb [trusted=yes] {archive} ./" >/etc/apt/sources.list && \\
    apt-get -qq update && export DEBIAN_FRONTEND=noninteractive && \\
    apt-get -qq install -y --no-install-recommends $(cat /packages.txt) >/dev/null
"""
UV = """\
RUN --mount=type=cache,target=/root/.cache/uv \\
    --mount=type=bind,source=uv,target=/usr/local/bin/uv \\
    --mount=type=bind,source={requirements},target=/requirements.txt \\
    : {round} && export HOME=/root UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never && \\
    uv venv -q --python /usr/bin/python3 /opt/app-root && \\
    uv pip install -q --no-deps {bytecode} --default-index {index} \\
        --python /opt/app-root/bin/python -r /requirements.txt
"""
PIP = """\
RUN --mount=type=cache,target=/root/.cache/pip \\
    --mount=type=bind,source=pip,target=/pip \\
    --mount=type=bind,source={requirements},target=/requirements.txt \\
    : {round} && export HOME=/root && python3 -m venv --without-pip /opt/app-root && \\
    /opt/app-root/bin/python /pip/pip install -q --no-deps {bytecode} --index-url {index} \\
        --disable-pip-version-check --root-user-action ignore -r /requirements.txt
"""
BYTECODE = {(UV, True): "--compile-bytecode", (PIP, False): "--no-compile"}


class Context:
    """The build context of one case, and where its packages are."""

    def __init__(self, case, server):
        self.case, self.server = case, server
        self.place = case.work / "context" / case.name

    def prepare(self, changed=None):
        """Writes the context. `changed` is the case with another lock."""
        remove(self.place)
        self.place.mkdir(parents=True)
        debs, wheels = self.case.files("debs"), self.case.files("wheels")
        self.archive, self.repository = self.server.archive(self.case.name, debs)
        lists = {"requirements.txt": wheels}
        if changed is not None:
            lists["changed.txt"] = changed.files("wheels")
        known = {file: (path, file) for files in lists.values() for path, file in files}
        self.index = self.server.index(self.case.name, known.values())
        for name, files in lists.items():
            wanted = (file.split("-")[:2] for _, file in files)
            self.write(name, (f"{project}=={version}" for project, version in wanted))
        self.write("packages.txt", pins(self.case, debs))
        lock = tomllib.loads((self.case.warm.family / "kiln.lock").read_text())
        [uv] = [self.case.warm.download(tool["sha256"]) for tool in lock["tool"]]
        self.unpack(uv, "uv", lambda name: name.endswith("/scripts/uv"))
        for path, file in wheels:
            if file.startswith("pip-"):
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(self.place / "pip")

    def write(self, name, lines):
        (self.place / name).write_text("".join(f"{line}\n" for line in lines))

    def unpack(self, wheel, target, wanted):
        with zipfile.ZipFile(wheel) as archive:
            [member] = filter(wanted, archive.namelist())
            with archive.open(member) as content, open(self.place / target, "wb") as out:
                shutil.copyfileobj(content, out)
        (self.place / target).chmod(0o755)

    def system(self, round=""):
        """The RUN that installs OS packages. Another `round` has it run again."""
        return SYSTEM.format(archive=self.archive, round=round or "once")

    def python(self, installer, bytecode, round, requirements="requirements.txt"):
        """The RUN that installs Python packages: `installer` is UV or PIP."""
        return installer.format(
            bytecode=BYTECODE.get((installer, bytecode), ""),
            index=self.index,
            requirements=requirements,
            round=round,
        )



def pins(case, debs):
    """What apt calls the packages of archives: `name=version`."""
    lock = tomllib.loads((case.warm.family / "kiln.lock").read_text())
    names = {deb["sha256"]: f"{deb['name']}={deb['version']}" for deb in lock["deb"]}
    return [names[f"sha256:{path.name}"] for path, _ in debs]
