"""The rows of the benchmark: what is built, by whom, and what is aimed at."""

import dataclasses
from collections.abc import Callable

from containerfile import PIP, UV


@dataclasses.dataclass
class Runner:
    """Who does the work of a row. A slow one runs in fewer rounds."""

    run: Callable
    slow: bool = False


@dataclasses.dataclass
class Row:
    """Runners by name: kiln, the floor, peers; and what is aimed at, in numbers."""

    title: str
    runners: dict
    # How many times faster than a peer kiln is to be.
    faster: dict = dataclasses.field(default_factory=dict)
    # How many times the floor it may take.
    floor: float | None = None
    # How many seconds it may take.
    seconds: float | None = None


def rows(bench):
    """All rows by name, in the order in which a round runs them."""
    compiled, plain, torch, base = bench.compiled, bench.plain, bench.torch, bench.base
    changed = bench.changed.warm.family

    def engine(name, case, installer=UV, **options):
        return Runner(lambda: bench.install(name, case, installer, **options), slow=True)

    return {
        "compiled": Row(
            "data science, compiled modules, whole image",
            {
                "kiln": Runner(compiled.whole),
                "buildkit + uv": engine("buildkit", "datascience", bytecode=True),
            },
            faster={"buildkit + uv": 5},
        ),
        # After the one above, whose last image is built once more.
        "nothing": Row(
            "nothing changed",
            {
                "kiln": Runner(compiled.nothing),
                "buildkit + uv": Runner(lambda: bench.engines["buildkit"].again()),
            },
            seconds=0.05,
        ),
        "compiled-python": Row(
            "data science, compiled modules, OS layers there",
            {
                "kiln": Runner(compiled.stack),
                "buildkit + uv": engine("buildkit", "datascience", bytecode=True, system=False),
            },
            faster={"buildkit + uv": 5},
        ),
        "plain": Row(
            "data science, whole image",
            {
                "kiln": Runner(plain.whole),
                "buildkit + pip": engine("buildkit", "datascience", PIP),
                "buildah + uv": engine("buildah", "datascience"),
                "buildkit + uv": engine("buildkit", "datascience"),
                "floor": Runner(lambda: plain.floor(["debs", "wheels"])),
            },
            faster={"buildkit + uv": 10},
        ),
        "plain-python": Row(
            "data science, OS layers there",
            {
                "kiln": Runner(plain.stack),
                "buildkit + uv": engine("buildkit", "datascience", system=False),
                "floor": Runner(lambda: plain.floor(["wheels"])),
            },
            faster={"buildkit + uv": 10},
        ),
        "torch": Row(
            "CUDA stack, whole image",
            {
                "kiln": Runner(torch.whole),
                "floor": Runner(lambda: torch.floor(["debs", "wheels"])),
            },
        ),
        "torch-python": Row(
            "CUDA stack, OS layers there",
            {
                "kiln": Runner(torch.stack),
                "floor": Runner(lambda: torch.floor(["wheels"])),
                "buildkit + uv": engine("buildkit", "torch", system=False),
            },
            faster={"buildkit + uv": 25},
            floor=1.5,
        ),
        "torch-changed": Row(
            "CUDA stack, one small package changed",
            {
                "kiln": Runner(lambda: torch.changed(changed)),
                "buildkit + uv": engine("buildkit", "torch", system=False, changed=True),
            },
            faster={"buildkit + uv": 100},
        ),
        "base": Row(
            "Debian with Python, configured",
            {
                "kiln": Runner(base.whole),
                "mmdebstrap": Runner(lambda: bench.bootstrap()),
            },
            faster={"mmdebstrap": 3},
        ),
    }
