# Compiles Python modules. Runs in the sandbox, on the Python of the image (3.9 or later) with
# nothing but its standard library.
#
#   compile.py SOURCES OUT WORKERS
#
# SOURCES holds records: length of the path, length of the source (four bytes each, little
# endian), the path in the image, the source. Each worker writes OUT/<number> with records: number
# of the source's record, length of the module file, the module file (PEP 552, unchecked hash).
#
# What cannot be compiled has no record: `compileall` and pip go on, too, whatever `compile`
# raises (test data of other Pythons, templates).

import importlib.util
import marshal
import os
import struct
import sys

UNCHECKED_HASH = 0b01

LENGTHS = struct.Struct("<II")
NUMBER = struct.Struct("<I")


def read_records(file):
    """Path, place and length of each source."""
    records = []
    while header := file.read(LENGTHS.size):
        path_length, source_length = LENGTHS.unpack(header)
        path = file.read(path_length).decode()
        records.append((path, file.tell(), source_length))
        file.seek(source_length, os.SEEK_CUR)
    return records


def module_file(source, path):
    """The module file of a source, or None."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except Exception:
        return None
    return b"".join(
        (
            importlib.util.MAGIC_NUMBER,
            NUMBER.pack(UNCHECKED_HASH),
            importlib.util.source_hash(source),
            marshal.dumps(code),
        )
    )


def work(sources, records, queue, out_path):
    """Compiles the records whose numbers come from the queue, until it is closed."""
    with open(out_path, "wb") as out:
        # Numbers are written whole and a pipe's pages hold a whole count of them.
        while number_bytes := os.read(queue, NUMBER.size):
            number = NUMBER.unpack(number_bytes)[0]
            path, place, length = records[number]
            module = module_file(os.pread(sources, length, place), path)
            if module is not None:
                out.write(LENGTHS.pack(number, len(module)))
                out.write(module)


def main():
    sources_path, out, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(sources_path, "rb") as file:
        records = read_records(file)
    sources = os.open(sources_path, os.O_RDONLY)
    queue, feed = os.pipe()
    pids = []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            os.close(feed)
            work(sources, records, queue, os.path.join(out, str(worker)))
            os._exit(0)
        pids.append(pid)
    os.close(queue)
    # The largest first, so that none is left for the end.
    numbers = sorted(range(len(records)), key=lambda number: -records[number][2])
    try:
        for number in numbers:
            os.write(feed, NUMBER.pack(number))
    except BrokenPipeError:
        pass  # All workers have ended, which their statuses explain.
    os.close(feed)
    if any([os.waitpid(pid, 0)[1] for pid in pids]):
        sys.exit("a worker failed")


main()
