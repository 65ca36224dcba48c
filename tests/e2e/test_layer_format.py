"""The written format of layers is the one that kiln writes."""

import unittest

import harness
import layer_format


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
        paths = [entry["path"] for entry in listed]
        self.assertEqual(paths, sorted(set(paths)))
        members = iter(members)
        for is_payload, data in layer_format.pieces(listed):
            whole, content = next(members)
            if is_payload:
                # One member, but for plain payloads of more than 4 MiB.
                while len(content) < len(data):
                    self.assertEqual(len(content) % layer_format.CHUNK, 0)
                    content += next(members)[1]
                self.assertEqual(content, data)
            else:
                self.assertEqual(content, data)
                self.assertEqual(whole, layer_format.member(data))
        self.assertIsNone(next(members, None))


if __name__ == "__main__":
    unittest.main()
