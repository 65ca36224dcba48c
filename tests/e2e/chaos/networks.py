"""A mirror that means ill, or a proxy that is broken."""

import socket
import struct
import time

from mirror import reply


def hostile(run):
    """Downloads everything from a mirror that misbehaves, though not for ever."""
    run.begin("empty")
    kinds = run.random.sample(KINDS, run.random.randrange(1, 4))
    share = run.random.choice([0.3, 0.6, 0.9])
    left = [run.random.choice([2, 6, 20])]
    run.note(f"{', '.join(kind.__name__ for kind in kinds)}: {share} of the answers, at most {left[0]}")

    def answer(handler, body):
        body = b"not here\n" if body is None else body
        if left[0] == 0 or run.random.random() > share:
            return honest(handler, body)
        left[0] -= 1
        kind = run.random.choice(kinds)
        run.note(f"{kind.__name__} {handler.path}")
        handler.close_connection = True
        kind(handler, body, run.random)

    with run.world.mirror.faulty("/", answer):
        run.end(run.build())


def honest(handler, body):
    """As a good server answers, ranges too."""
    first = asked(handler)
    if not first or first >= len(body):
        return reply(handler, body)
    about = ("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
    reply(handler, body[first:], 206, [about, ("ETag", '"1"')])


def asked(handler):
    """Where the range begins that is asked for."""
    return int(handler.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")[0])


def truncates(handler, body, random):
    reply(handler, body, content=body[: random.randrange(len(body))])


def says_less(handler, body, random):
    reply(handler, body[: random.randrange(len(body))])


def says_more(handler, body, random):
    reply(handler, body + random.randbytes(random.randrange(1, 5000)))


def corrupts(handler, body, random):
    at = random.randrange(len(body))
    honest(handler, body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :])


def swaps(handler, body, random):
    """Two parts of the body in the wrong order."""
    at = random.randrange(len(body))
    honest(handler, body[at:] + body[:at])


def delays(handler, body, random):
    time.sleep(random.uniform(0, 0.4))
    honest(handler, body)


def wrong_range(handler, body, random):
    """Part of the file, another than was asked for or than it says."""
    size = len(body)
    first = random.randrange(size)
    says = random.choice([first, asked(handler), 0, size + 5])
    total = random.choice([size, size, size + 1, "*", ""])
    about = random.choice([f"bytes {says}-{size - 1}/{total}", f"bytes */{size}", "nonsense", "bytes 5-2/9"])
    reply(handler, body[first:], 206, [("Content-Range", about)])


def refuses_range(handler, body, random):
    reply(handler, b"", 416, [("Content-Range", f"bytes */{len(body)}")])


def ignores_range(handler, body, random):
    reply(handler, body)


def too_many(handler, body, random):
    wait = random.choice(["0", "1", "soon", "-1", "Thu, 01 Jan 1970 00:00:00 GMT", "1e9", ""])
    reply(handler, b"later\n", 429, [("Retry-After", wait)])


def fails(handler, body, random):
    reply(handler, b"no\n", random.choice([500, 502, 503, 504, 403, 404, 410, 204, 304, 418]))


def redirects(handler, body, random):
    to = random.choice([handler.path, f"{handler.path}?{random.random()}", "//", "http://[", "/elsewhere", ""])
    reply(handler, b"", random.choice([301, 302, 303, 307, 308]), [("Location", to)])


def resets(handler, body, random):
    """The connection is reset, before or in the middle of the body."""
    if random.random() < 0.5:
        reply(handler, body, content=body[: random.randrange(len(body))])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)


def lies_about_tag(handler, body, random):
    if random.random() < 0.5:
        return reply(handler, b"", 304, [("ETag", '"1"')])
    reply(handler, corrupted(body, random), headers=[("ETag", '"1"')])


def lies_about_encoding(handler, body, random):
    coding = random.choice(["gzip", "br", "zstd", "identity", "rot13"])
    reply(handler, body, headers=[("Content-Encoding", coding)])


def speaks_nonsense(handler, body, random):
    handler.wfile.write(random.choice([b"", b"\r\n\r\n", b"HTTP/9 x\r\n\r\n", random.randbytes(200)]))


def never_ends(handler, body, random):
    """A body in chunks that goes on behind its end, and at last breaks off."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for piece in [body, *[bytes(1 << 16)] * 256]:
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


def corrupted(body, random):
    return bytes([body[0] ^ 1 + random.randrange(255)]) + body[1:]


KINDS = [truncates, says_less, says_more, corrupts, swaps, delays, wrong_range, refuses_range, ignores_range]
KINDS += [too_many, fails, redirects, resets, lies_about_tag, lies_about_encoding, speaks_nonsense, never_ends]
