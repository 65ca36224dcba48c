"""All that is done once: families locked, images built warm, contexts, engines with warm caches."""

import shutil
import subprocess
import sys
import uuid

import debian
from containerfile import PIP, UV, Context, pins
from engines import Buildah, BuildKit
from kiln import ROOT
from loopback import Server
from ours import Case, changed_family, settled

# The small package that changes: it is in every larger environment.
SMALL = "certifi"
# Of the quick run: a small image, and a small bundle in the place of the CUDA stack.
QUICK = ("runtime-minimal-d12", ["numpy", "requests"])
FULL = ("jupyter-datascience-d12", [])


class Bench:
    """Cases, peers, and where they live. What was prepared before is used again."""

    def __init__(self, work, quick):
        self.work = work
        datascience, requirements = QUICK if quick else FULL
        reference = self.family("reference", lambda it: shutil.copytree(ROOT / "family", it))
        make = [ROOT / "bench/torch-family"]
        torch = self.family("torch", lambda it: subprocess.run([*make, it, *requirements], check=True))
        changed = work / "families/changed"
        plain = ["--no-bytecode"]
        self.compiled = Case("datascience", work, reference, datascience, [])
        self.plain = Case("datascience", work, reference, datascience, plain)
        self.torch = Case("torch", work, torch, "runtime-torch", plain)
        self.changed = Case("torch", work, changed, "runtime-torch", plain)
        self.base = Case("base", work, reference, "runtime-minimal-d12", plain)
        self.server = Server(work / "loopback")
        self.contexts, self.engines = {}, {}

    def family(self, name, make):
        place = self.work / "families" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            make(place)
        return place

    def prepare(self, rows):
        """Gets ready for these rows."""
        cases = [self.base, self.compiled, self.plain]
        if any(name.startswith("torch") for name in rows):
            self.lock_torch()
            cases += [self.torch, self.changed]
        for case in cases:
            say(f"builds {case.image} {' '.join(case.options)}")
            case.prepare()
        for case in cases:
            if case.name not in self.contexts:
                context = self.contexts[case.name] = Context(case, self.server)
                context.prepare(self.changed if case is self.torch else None)
        runners = {who.partition(" ")[0] for row in rows.values() for who in row.runners}
        if BuildKit.name in runners:
            self.prepare_engine(BuildKit, {"datascience": [UV, PIP], "torch": [UV]})
        if Buildah.name in runners:
            self.prepare_engine(Buildah, {"datascience": [UV]})

    def lock_torch(self):
        # Lints would rightly object to CUDA's wheels in an image without an accelerator.
        if not (self.torch.warm.family / "kiln.lock").exists():
            self.torch.warm.run("lock", "--no-lint")
        changed = self.changed.warm.family
        if not changed.exists():
            changed_family(self.torch.warm.family, changed, "torch", SMALL)
            self.changed.warm.run("lock", "--no-lint")

    def prepare_engine(self, kind, installers):
        """Starts an engine, makes the images that others stand on and fills its cache mounts."""
        say(f"prepares {kind.name}")
        engine = self.engines[kind.name] = kind(self.work, self.server)
        tar = self.work / "context/base-image/debian.tar"
        if not tar.exists():
            tar.parent.mkdir(parents=True, exist_ok=True)
            settled(debian.command(self.contexts["base"].repository, tar))
        engine.provide("debian", "FROM scratch\nADD debian.tar /\n", tar.parent)
        for case in installers.keys() & self.contexts.keys():
            context = self.contexts[case]
            text = f"FROM {engine.reference('debian')}\n{context.system()}"
            engine.provide(f"{case}-os", text, context.place)
            for number, installer in enumerate(installers[case]):
                warm = self.work / f"warm-{kind.name}-{case}-{number}"
                if not warm.exists():
                    say(f"fills the caches of {kind.name} for {case}")
                    engine.forget("image")
                    text = self.text(engine, case, installer, system=False)
                    engine.run(engine.build_command("image", text, context.place))
                    warm.touch()

    def text(self, engine, case, installer, *, bytecode=False, system=True, changed=False):
        """A Containerfile whose RUNs nobody has run before."""
        context, round = self.contexts[case], uuid.uuid4()
        text = f"FROM {engine.reference('debian' if system else f'{case}-os')}\n"
        if system:
            text += context.system(round)
        requirements = "changed.txt" if changed else "requirements.txt"
        return text + context.python(installer, bytecode, round, requirements)

    # What peers do.

    def install(self, name, case, installer, **options):
        """An engine builds and pushes an image. `system=False`: the OS packages are there."""
        engine = self.engines[name]
        engine.forget("image")
        text = self.text(engine, case, installer, **options)
        return engine.image("image", text, self.contexts[case].place)

    def bootstrap(self):
        """mmdebstrap makes the base, as a compressed tar."""
        packages = pins(self.base, self.base.files("debs"))
        target = self.work / "bootstrap.tar.gz"
        command = debian.command(self.contexts["base"].repository, target, packages)
        sample = settled(command)
        sample["new"] = target.stat().st_size
        target.unlink()
        return sample

    def close(self):
        for engine in self.engines.values():
            engine.close()


def say(text):
    print(text, file=sys.stderr, flush=True)
