"""Samples → Markdown: what was aimed at, and all figures."""

import datetime
import os
import pathlib
import platform
import statistics
import subprocess

from kiln import BINARY

# Aims for every case.
MEMORY = 400e6
WRITTEN = 1.1


def markdown(rows, samples):
    """Lines of the whole report."""
    figures = medians(samples)
    yield from conditions(samples)
    yield "\n## Aims\n"
    yield "| case | aim | measured | |\n|---|---|---|---|"
    for name, row in rows.items():
        for aim, measured, reached in aims(row, figures[name]):
            yield f"| {row.title} | {aim} | {measured} | {'reached' if reached else '**missed**'} |"
    yield "\n## Figures\n"
    yield (
        "| case | who | rounds | wall | CPU | anonymous memory | written "
        "| new, compressed | kiln's time in it |"
    )
    yield "|---" * 9 + "|"
    for name, row in rows.items():
        for who, figure in figures[name].items():
            yield line(row.title, who, figure, figures[name]["kiln"])


def medians(samples):
    """For each row and runner the median of each figure, and how many rounds there were."""
    groups = {}
    for sample in samples:
        groups.setdefault(sample["row"], {}).setdefault(sample["who"], []).append(sample)
    return {
        row: {who: median(group) for who, group in runners.items()}
        for row, runners in groups.items()
    }


def median(group):
    numbers = (key for key, value in group[0].items() if isinstance(value, int | float))
    middle = {key: statistics.median(it[key] for it in group) for key in numbers}
    return {**middle, "rounds": len(group)}


def aims(row, figures):
    """What a row aims at, what came out, and whether that is enough."""
    kiln = figures["kiln"]
    for peer, factor in row.faster.items():
        if peer in figures:
            ratio = figures[peer]["seconds"] / kiln["seconds"]
            yield f"{factor} times faster than {peer}", f"{ratio:.1f} times", ratio >= factor
    if row.floor is not None:
        ratio = kiln["seconds"] / figures["floor"]["seconds"]
        yield f"{row.floor} times the floor", f"{ratio:.2f} times", ratio <= row.floor
    if row.seconds is not None:
        limit = f"under {row.seconds * 1000:.0f} ms"
        yield limit, f"{kiln['seconds'] * 1000:.0f} ms", kiln["seconds"] < row.seconds
    yield f"under {MEMORY / 1e6:.0f} MB", f"{kiln['memory'] / 1e6:.0f} MB", kiln["memory"] < MEMORY
    if kiln["new"]:
        ratio = kiln["written"] / kiln["new"]
        yield f"writes {WRITTEN} times what is new", f"{ratio:.2f} times", ratio <= WRITTEN


def line(title, who, figure, kiln):
    ratio = figure["seconds"] / kiln["seconds"]
    cells = [
        title,
        who,
        figure["rounds"],
        seconds(figure),
        f"{figure['cpu']:.2f} s",
        f"{figure['memory'] / 1e6:.0f} MB",
        f"{figure['written'] / 1e6:.0f} MB",
        f"{figure['new'] / 1e6:.0f} MB" if "new" in figure else "",
        "" if figure is kiln else f"{ratio:.2f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def seconds(figure):
    if "build" in figure:
        parts = f"{figure['build']:.1f} s + {figure['push']:.1f} s to push"
        return f"{figure['seconds']:.2f} s ({parts})"
    return f"{figure['seconds']:.2f} s"


def conditions(samples):
    """On what all this was measured."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].splitlines()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    yield f"- {os.cpu_count()} cores, {cpu[0] if cpu else platform.machine()}"
    yield f"- {memory / 1e9:.0f} GB of memory; Linux {platform.release()}"
    for command in [
        [BINARY, "--version"],
        ["dockerd", "--version"],
        ["buildah", "--version"],
        ["mmdebstrap", "--version"],
    ]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        yield f"- {done.stdout.strip()}"
