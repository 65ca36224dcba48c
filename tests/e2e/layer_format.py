"""Layer format 1 in gzip and eStargz form, written again from docs/layer-format.md and from nothing else.

Payloads that kiln compressed itself are taken as they are: libdeflate is its own judge. All else,
the order and the headers of the tar stream, the cuts and the bytes of the members of headers, is
made here and compared.
"""

import base64
import datetime
import hashlib
import io
import itertools
import json
import re
import struct
import tarfile
import zlib

CHUNK = 4 << 20
HEADER = bytes.fromhex("1f8b08000000000000ff")
DISTANCES = [(1, 0, 0, 0), (8, 5, 1, 1), (512, 17, 127, 7)]  # distance, code, extra, its bits
EXTRA = [0] * 8 + [bits for bits in range(1, 6) for _ in range(4)] + [0]
FIRST = [3 + sum(1 << bits for bits in EXTRA[:index]) for index in range(28)] + [258]


def members(blob):
    """The gzip members of a blob: whole, and what each holds."""
    found = []
    while blob:
        assert blob.startswith(HEADER)
        inflate = zlib.decompressobj(-15)
        data = inflate.decompress(blob[len(HEADER) :])
        assert inflate.eof
        end = len(blob) - len(inflate.unused_data) + 8
        assert blob[end - 8 : end] == struct.pack("<II", zlib.crc32(data), len(data))
        found.append((blob[:end], data))
        blob = blob[end:]
    return found


def deflate(data):
    """Section 5: one block of fixed codes, matches at three distances."""
    bits = []

    def number(value, count):
        bits.extend(value >> index & 1 for index in range(count))

    def code(value, count):
        bits.extend(value >> index & 1 for index in reversed(range(count)))

    def symbol(value):
        if value < 144:
            code(0x30 + value, 8)
        elif value < 256:
            code(0x190 + value - 144, 9)
        elif value < 280:
            code(value - 256, 7)
        else:
            code(0xC0 + value - 280, 8)

    def match(position, distance):
        if distance > position:
            return 0
        end = min(position + 258, len(data))
        here = itertools.takewhile(
            lambda at: data[at] == data[at - distance], range(position, end)
        )
        return sum(1 for _ in here)

    number(0b011, 3)
    position = 0
    while position < len(data):
        # `max` gives the first of equals: the nearest.
        best = max(DISTANCES, key=lambda distance: match(position, distance[0]))
        length = match(position, best[0])
        if length < 3:
            symbol(data[position])
            position += 1
            continue
        index = max(index for index in range(29) if FIRST[index] <= length)
        symbol(257 + index)
        number(length - FIRST[index], EXTRA[index])
        code(best[1], 5)
        number(best[2], best[3])
        position += length
    symbol(256)
    bits.extend([0] * (-len(bits) % 8))
    octets = zip(*[iter(bits)] * 8)
    return bytes(sum(bit << index for index, bit in enumerate(octet)) for octet in octets)


def member(data):
    return HEADER + deflate(data) + struct.pack("<II", zlib.crc32(data), len(data))


def padding(size):
    return bytes(-size % 512)


def split(name):
    """Prefix and name, unless the name must stand in a record."""
    if not name.isascii():
        return None
    if len(name) <= 100:
        return b"", name
    slash = name.find(b"/", len(name) - 101, len(name) - 1)
    return (name[:slash], name[slash + 1 :]) if 0 <= slash <= 155 else None


def ascii_head(text):
    return bytes(byte for byte in text if byte < 128)[:100]


def octal(value, digits):
    return b"%0*o" % (digits, value if 0 <= value < 8**digits else 0)


def block(name, kind, size=0, mode=0, uid=0, gid=0, mtime=0, link=b""):
    prefix, short = split(name) or (b"", ascii_head(name))
    fields = [
        (0, short),
        (100, octal(mode, 7)),
        (108, octal(uid, 7)),
        (116, octal(gid, 7)),
        (124, octal(size, 11)),
        (136, octal(mtime, 11)),
        (148, b" " * 8),
        (156, kind),
        (157, ascii_head(link)),
        (257, b"ustar\x0000"),
        (329, b"0" * 7),
        (337, b"0" * 7),
        (345, prefix),
    ]
    made = bytearray(512)
    for offset, value in fields:
        made[offset : offset + len(value)] = value
    made[148:156] = octal(sum(made), 6) + b"\0 "
    return bytes(made)


def record(keyword, value):
    rest = len(keyword) + len(value) + 3
    length = next(it for it in itertools.count(rest) if it == rest + len(str(it)))
    return b"%d %s=%s\n" % (length, keyword, value)


def header(entry):
    """An entry's ustar block, behind a PAX header where it needs one."""
    records = b""
    if entry["capability"]:
        records += record(b"SCHILY.xattr.security.capability", entry["capability"])
    link = entry["fields"]["link"]
    if len(link) > 100 or not link.isascii():
        records += record(b"linkpath", link)
    if split(entry["name"]) is None:
        records += record(b"path", entry["name"])
    extended = b""
    if records:
        extended = block(b"././@PaxHeader", b"x", len(records))
        extended += records + padding(len(records))
    return extended + block(entry["name"], entry["kind"], **entry["fields"])


def entries(tar):
    """The entries of a tar stream, as Python's tarfile reads them."""
    octets = lambda text: text.encode("utf-8", "surrogateescape")
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for info in archive:
            name = octets(info.name)
            # What is removed has the place of its path.
            path = re.sub(rb"(^|/)\.wh\.([^/]*)$", rb"\1\2", name)
            data = b""
            if info.type == b"0":
                data = tar[info.offset_data : info.offset_data + info.size]
            yield {
                "path": path,
                "name": name + b"/" if info.isdir() else name,
                "kind": info.type,
                "data": data,
                "capability": octets(
                    info.pax_headers.get("SCHILY.xattr.security.capability", "")
                ),
                "fields": {
                    "size": len(data),
                    "mode": info.mode,
                    "uid": info.uid,
                    "gid": info.gid,
                    "mtime": int(info.mtime),
                    "link": octets(info.linkname),
                },
            }


def pieces(listed, end=bytes(1024)):
    """Sections 2 to 4: the contents of the members, as `(is_payload, bytes)`. `end` is what follows the
    last entry in its batch."""
    headers, nominal = b"", 0
    for entry in listed:
        data, link = entry["data"], entry["fields"]["link"]
        headers += header(entry)
        nominal += 512 + len(entry["path"]) + (len(link) if entry["kind"] == b"2" else 0)
        large = len(data) > CHUNK
        if data:
            yield False, headers
            yield True, data
            headers = padding(len(data))
        if large:
            nominal = len(headers)
            continue
        nominal += len(data) + (len(headers) if data else 0)
        if nominal >= CHUNK:
            if headers:
                yield False, headers
            headers, nominal = b"", 0
    if headers + end:
        yield False, headers + end


TYPES = {b"5": "dir", b"0": "reg", b"1": "hardlink", b"2": "symlink"}


def table(listed, parts):
    """Section 7: the table of contents. `parts` are the members of payloads, in order: where each begins
    and what it holds."""
    rows, parts = [], iter(parts)
    for entry in listed:
        data, fields = entry["data"], entry["fields"]
        name = entry["name"].decode()
        time = datetime.datetime.fromtimestamp(fields["mtime"], datetime.UTC)
        row = {"name": name, "type": TYPES[entry["kind"]]}
        if data:
            row["size"] = len(data)
        row["modtime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        if fields["link"]:
            row["linkName"] = fields["link"].decode()
        row.update((key, fields[key]) for key in ["mode", "uid", "gid"])
        if entry["capability"]:
            value = base64.b64encode(entry["capability"]).decode()
            row["xattrs"] = {"security.capability": value}
        if data:
            row["digest"] = sha256(data)
        rows.append(row)
        done = 0
        while done < len(data):
            offset, content = next(parts)
            if done:
                row = {"name": name, "type": "chunk"}
                rows.append(row)
            row["offset"] = offset
            if done:
                row["chunkOffset"] = done
            if done + len(content) < len(data):
                row["chunkSize"] = len(content)
            row["chunkDigest"] = sha256(content)
            done += len(content)
    made = {"version": 1, "entries": rows}
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def sha256(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def footer(position):
    extra = b"%016xSTARGZ" % position
    start = bytes.fromhex("1f8b08040000000000ff") + struct.pack("<H", len(extra) + 4)
    return start + b"SG" + struct.pack("<H", len(extra)) + extra + bytes.fromhex("010000ffff") + bytes(8)
