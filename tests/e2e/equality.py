"""Two trees are equal but for a written list of differences, each with its reason.

A line of such a list reads `aspect: path`; `*` stands for any characters.
"""

import fnmatch
import re
import unittest

import harness


def compare(theirs, ours, names, aspects):
    """How two trees differ, as lines `aspect: path`."""
    their_name, our_name = names
    for path in sorted(theirs.keys() | ours.keys()):
        if path not in ours:
            yield f"only {their_name}: {path}"
        elif path not in theirs:
            yield f"only {our_name}: {path}"
        else:
            for aspect in theirs[path].differences(ours[path], aspects):
                yield f"{aspect}: {path}"


def written(section):
    """The list in a section of docs/equality.md: pairs of difference and reason."""
    text = (harness.ROOT / "docs/equality.md").read_text()
    section = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z ]+: [^`]+)` \| (.+) \|$", section, re.MULTILINE)


def matching(paths, pattern):
    """The paths that match a pattern."""
    return [path for path in paths if fnmatch.fnmatchcase(path, pattern)]


class Equality(unittest.TestCase):
    maxDiff = None

    def check(self, differences, allowed, occurring=None):
        """Every difference is allowed, and every allowed one occurs (if given, those of
        `occurring`)."""
        used = set()
        surprises = []
        for difference in differences:
            matching = [it for it in allowed if fnmatch.fnmatchcase(difference, it)]
            used.update(matching)
            if not matching:
                surprises.append(difference)
        self.assertFalse(surprises[:50], f"{len(surprises)} differences are not written down")
        expected = allowed if occurring is None else occurring
        self.assertFalse(expected.keys() - used, "these are no differences any more")
