"""The lines of `--output json`, compared with their schema: `kiln schema output`.

The schema allows keys that it does not name, as later versions may add some. Here a key that it
does not name is an error, so the schema names all that kiln writes.
"""

import functools
import json
import subprocess

import jsonschema


def check(kiln, line):
    """Makes sure that a line is one that the schema describes."""
    validators, by_event = schema(kiln)
    if "event" in line:
        by_event[line["event"]].validate(line)
        return
    fitting = [name for name, it in validators.items() if it.is_valid(line)]
    if len(fitting) != 1:
        raise AssertionError(f"{fitting or 'nothing'} of the schema describes {line}")


@functools.cache
def schema(kiln):
    """Validators by name, and by event."""
    text = subprocess.run([kiln, "schema", "output"], check=True, capture_output=True).stdout
    whole = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(whole)
    parts = {reference["$ref"].rpartition("/")[2] for reference in whole["oneOf"]}
    validators, by_event = {}, {}
    for name in parts:
        part = strict(whole["$defs"][name]) | {"$defs": whole["$defs"]}
        event = part["properties"].get("event")
        if event:
            by_event[event["const"]] = jsonschema.Draft202012Validator(part)
        else:
            validators[name] = jsonschema.Draft202012Validator(part)
    return validators, by_event


def strict(part):
    """The schema without room for keys that it does not name."""
    if not isinstance(part, dict):
        return part
    inner = {key: strict(value) for key, value in part.items() if key != "properties"}
    if "properties" in part:
        properties = {key: strict(value) for key, value in part["properties"].items()}
        inner |= {"properties": properties, "additionalProperties": False}
    return inner
