"""The written format of layers is the one that kiln writes."""

import unittest

import harness
import layer_format
import test_formats


class LayerFormat(unittest.TestCase):
    def test_layers_are_what_the_document_says_byte_by_byte(self):
        seen = set()
        for blob, made in harness.built().layers():
            # Small ones of every kind, and one with files of more than 4 MiB.
            if blob.stat().st_size > 4 << 20 and not made["comment"].startswith("numpy "):
                continue
            with self.subTest(made["created_by"], what=made["comment"][:60]):
                self.same(blob.read_bytes())
                seen.add(made["created_by"].split()[-1].split("/")[0])
        self.assertEqual(seen, {"base", "bundle", "ide"})

    def same(self, blob):
        members = layer_format.members(blob)
        tar = b"".join(data for _, data in members)
        listed = list(layer_format.entries(tar))
        self.cut(members, listed, layer_format.pieces(listed))

    def cut(self, members, listed, pieces):
        """The members hold these pieces; gives where those of payloads begin, and what they hold."""
        paths = [entry["path"] for entry in listed]
        self.assertEqual(paths, sorted(set(paths)))
        members, position, parts = iter(members), 0, []
        for is_payload, data in pieces:
            rest = data
            while True:
                whole, content = next(members)
                self.assertTrue(rest.startswith(content))
                rest = rest[len(content) :]
                if is_payload:
                    parts.append((position, content))
                else:
                    self.assertEqual(whole, layer_format.member(data))
                position += len(whole)
                if not rest:
                    break
                # One member, but for large payloads.
                self.assertTrue(is_payload)
                self.assertEqual(len(content), layer_format.CHUNK)
        self.assertIsNone(next(members, None))
        return parts

    def test_lazy_layers_are_what_the_document_says_byte_by_byte(self):
        for blob in test_formats.made("estargz", "document").blobs:
            # The small ones, with files of more than 4 MiB among them.
            if blob.stat().st_size < 16 << 20:
                with self.subTest(layer=blob.name):
                    self.same_lazy(blob.read_bytes())

    def same_lazy(self, blob):
        length = len(layer_format.footer(0))
        *members, last = layer_format.members(blob[:-length])
        position = len(blob) - length - len(last[0])
        self.assertEqual(blob[-length:], layer_format.footer(position))
        *listed, table = layer_format.entries(b"".join(data for _, data in [*members, last]))
        large = {it["path"] for it in listed if len(it["data"]) > layer_format.CHUNK}
        parts = self.cut(members, listed, layer_format.pieces(listed, end=b""))
        made = layer_format.table(listed, parts)
        self.assertEqual(table["data"], made)
        self.assertEqual(table["fields"]["mode"], 0o644)
        padded = made + layer_format.padding(len(made)) + bytes(1024)
        self.assertEqual(last[1], layer_format.header(table) + padded)
        self.assertIn(b".no.prefetch.landmark", {it["path"] for it in listed})
        self.assertEqual(len(parts) > sum(bool(it["data"]) for it in listed), bool(large))


if __name__ == "__main__":
    unittest.main()
