# Compiles Python modules. Runs in the sandbox, on the Python of the image (3.9 or later) with
# nothing but its standard library.
#
#   compile.py LARGE CHANNEL...
#
# For each CHANNEL, the number of a descriptor that is a socket, one worker answers what it is asked,
# until nothing comes any more. A question is the length of the path, the length of the source (four
# bytes each, little endian), the path in the image, the source. The answer is the length of the
# module file and the module file (PEP 552, unchecked hash).
#
# What cannot be compiled is answered by the length 0: `compileall` and pip go on, too, whatever
# `compile` raises (test data of other Pythons, templates).
#
# Sources of more than LARGE bytes are compiled in processes of their own, since a process keeps the
# memory that its largest source needed.

import gc
import importlib.util
import marshal
import os
import struct
import sys

UNCHECKED_HASH = 0b01

LENGTHS = struct.Struct("<II")
NUMBER = struct.Struct("<I")


def module_file(source, path):
    """The module file of a source, or nothing."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except Exception:
        return b""
    return b"".join(
        (
            importlib.util.MAGIC_NUMBER,
            NUMBER.pack(UNCHECKED_HASH),
            importlib.util.source_hash(source),
            marshal.dumps(code),
        )
    )


def answer(channel, path, source):
    module = module_file(source, path)
    channel.write(NUMBER.pack(len(module)))
    channel.write(module)
    channel.flush()


def work(channel, large):
    """Answers what comes through a channel."""
    with open(channel, "rb") as questions, open(channel, "wb", closefd=False) as answers:
        while header := questions.read(LENGTHS.size):
            path_length, source_length = LENGTHS.unpack(header)
            path = questions.read(path_length).decode()
            source = questions.read(source_length)
            if source_length > large:
                in_process(answer, answers, path, source)
            else:
                answer(answers, path, source)


def in_process(function, *arguments):
    """Calls a function in a process of its own, to the end."""
    end(start(function, *arguments))


def start(function, *arguments):
    pid = os.fork()
    if pid == 0:
        function(*arguments)
        os._exit(0)
    return pid


def end(*pids):
    if any([os.waitpid(pid, 0)[1] for pid in pids]):
        sys.exit("a worker failed")


def main():
    large, *channels = map(int, sys.argv[1:])
    # The compiler leaves no cycles behind, and looking for them costs a tenth of its time.
    gc.disable()
    end(*[start(work, channel, large) for channel in channels])


main()
