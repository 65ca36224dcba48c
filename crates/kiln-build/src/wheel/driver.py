"""Calls one hook of a PEP 517 build back end, in the directory of the project.

Usage: driver.py BACKEND BACKEND_PATH DIRECTORY [requirements]

BACKEND_PATH is a JSON list. The wheel is left in DIRECTORY; with `requirements`, the file
requirements.json is, with what building it requires beyond `build-system.requires`.
"""

import importlib
import json
import os
import sys


def load(backend, backend_path):
    # Python puts this file's directory first, which is none of the back end's business.
    sys.path[:1] = [os.path.abspath(directory) for directory in backend_path]
    module, _, attributes = backend.partition(":")
    found = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def main(backend, backend_path, directory, product="wheel"):
    hooks = load(backend, json.loads(backend_path))
    if product == "requirements":
        # The hook is optional; a back end without it requires nothing more.
        hook = getattr(hooks, "get_requires_for_build_wheel", lambda settings: [])
        requirements = sorted(set(hook(None)))
        path = os.path.join(directory, "requirements.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(requirements, file)
    else:
        hooks.build_wheel(directory, None, None)


main(*sys.argv[1:])
