"""`kiln verify-build`: an image is what its lock gives, or kiln says where it is not."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import unittest

import harness

FULL = "KILN_E2E_FULL" in os.environ
IMAGE = "runtime-minimal-d12"
PACKED = [IMAGE, "--pack-only"]


def repacked(blob, change):
    """A layer in which `change` may alter one member after the other; as bytes."""
    out = io.BytesIO()
    with (
        tarfile.open(blob, "r:gz") as layer,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as copy,
    ):
        for member in layer:
            content = layer.extractfile(member).read() if member.isreg() else None
            content = change(member, content)
            member.size = len(content or b"")
            copy.addfile(member, io.BytesIO(content) if content else None)
    return gzip.compress(out.getvalue(), compresslevel=1, mtime=0)


def more_setuid(member, content):
    if member.name == "usr/bin/env":
        member.mode |= 0o4000
    return content


def other_content(member, content):
    return b"root::0:0::/:/bin/sh\n" if member.name.endswith("/base-passwd/passwd.master") else content


def snapshot(directory):
    """All files below a directory, with what tells a change."""
    return {
        path: (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


class VerifyBuild(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kiln = harness.with_downloads("verify")
        cls.kiln.build(*PACKED)
        cls.manifest = cls.kiln.manifest(IMAGE)

    def verify(self, *arguments, kiln=None, expected=0):
        """What is said of one image; `expected` is the exit code."""
        lines, code = self.verdicts(*arguments, kiln=kiln)
        self.assertEqual(code, expected, lines)
        [line] = [line for line in lines if line["event"] == "compared"]
        self.assertEqual(line["same"], expected == 0)
        return line

    def verdicts(self, *arguments, kiln=None):
        command = ["--output", "json", "--offline", "verify-build", *(arguments or PACKED)]
        done = (kiln or self.kiln).run(*command, check=False)
        return [json.loads(line) for line in done.stdout.splitlines()], done.returncode

    def copy_of_store(self):
        """kiln with a copy of the store: files are shared until one is replaced."""
        store = harness.scratch("tampered") / "store"
        shutil.copytree(self.kiln.store, store, copy_function=os.link)
        return harness.Kiln(store, self.kiln.family)

    def exported(self):
        layout = harness.scratch("exported") / "layout"
        self.kiln.run("export", "--format", "oci-dir", IMAGE, layout)
        return layout

    def layer_with(self, name):
        """The position of the layer that has an entry of this name."""
        for position, (blob, _) in enumerate(self.kiln.layers(IMAGE)):
            with tarfile.open(blob, "r:gz") as layer:
                if name in layer.getnames():
                    return position
        raise AssertionError(f"no layer has {name}")

    def test_an_untouched_image_is_the_same_and_nothing_is_left(self):
        before = snapshot(self.kiln.store)
        line = self.verify()
        self.assertEqual(line["manifest"], line["rebuilt_manifest"])
        self.assertEqual(
            [layer["digest"] for layer in line["layers"]],
            [layer["digest"] for layer in self.manifest["layers"]],
        )
        self.assertTrue(all(layer["same"] for layer in line["layers"]))
        self.assertEqual(snapshot(self.kiln.store), before)
        self.assertEqual(os.listdir(self.kiln.store.parent), [self.kiln.store.name])

    def test_every_layer_is_made_again_whatever_the_store_says(self):
        lines, _ = self.verdicts()
        [started] = [line for line in lines if line["event"] == "started"]
        self.assertEqual(started["known"], 0)
        made = sum(line["steps"] for line in lines if line["event"] == "step-finished")
        self.assertEqual(made, started["steps"])

    def test_a_layer_that_was_repacked_in_place_is_found_with_its_path_and_action(self):
        kiln = self.copy_of_store()
        position = self.layer_with("usr/bin/env")
        blob = kiln.blob(self.manifest["layers"][position]["digest"])
        forged = repacked(blob, more_setuid)
        blob.unlink()
        blob.write_bytes(forged)
        line = self.verify(kiln=kiln, expected=6)
        wrong = [layer for layer in line["layers"] if not layer["same"]]
        [layer] = wrong
        self.assertEqual(layer["found"], f"sha256:{hashlib.sha256(forged).hexdigest()}")
        self.assertEqual(layer["paths"], [{"path": "/usr/bin/env", "what": ["mode 4755, rebuilt 0755"]}])
        planned = {step["key"]: step for step in kiln.json("plan", *PACKED) if "step" in step}
        self.assertEqual(planned[layer["action"]]["title"], layer["title"])

    def test_an_image_that_was_forged_with_all_its_digests_is_found(self):
        layout = self.exported()
        name = "usr/share/base-passwd/passwd.master"
        position = self.layer_with(name)

        def put(content):
            digest = hashlib.sha256(content).hexdigest()
            (layout / "blobs/sha256" / digest).write_bytes(content)
            return {"digest": f"sha256:{digest}", "size": len(content)}

        def blob(descriptor):
            return layout / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")

        index = json.loads((layout / "index.json").read_text())
        manifest = json.loads(blob(index["manifests"][0]).read_text())
        config = json.loads(blob(manifest["config"]).read_text())
        forged = repacked(blob(manifest["layers"][position]), other_content)
        manifest["layers"][position].update(put(forged))
        diff_id = hashlib.sha256(gzip.decompress(forged)).hexdigest()
        config["rootfs"]["diff_ids"][position] = f"sha256:{diff_id}"
        config["config"]["Env"].append("LD_PRELOAD=/tmp/x.so")
        manifest["config"].update(put(json.dumps(config).encode()))
        index["manifests"][0].update(put(json.dumps(manifest).encode()))
        (layout / "index.json").write_text(json.dumps(index))

        line = self.verify(*PACKED, "--against", layout, expected=6)
        self.assertEqual(line["manifest"], index["manifests"][0]["digest"])
        count = len(config["config"]["Env"])
        self.assertEqual(line["documents"], [f"config config.Env[{count - 1}]"])
        [layer] = [layer for layer in line["layers"] if not layer["same"]]
        [path] = layer["paths"]
        self.assertEqual(path["path"], f"/{name}")
        self.assertRegex(path["what"][0], r"^content \(21 B, rebuilt .* B\)$")

    def test_a_layer_that_another_tool_added_is_found(self):
        layout = self.exported()
        name = self.kiln.json("inspect", IMAGE)[0]["image"]
        bundle = layout.parent / "bundle"
        for command in [
            ["unpack", "--image", f"{layout}:{name}", bundle],
            ["repack", "--image", f"{layout}:{name}", bundle],
        ]:
            subprocess.run(["umoci", *map(str, command)], check=True, capture_output=True)
            (bundle / "rootfs/etc/added").write_text("added\n")
        line = self.verify(*PACKED, "--against", layout, expected=6)
        *ours, added = line["layers"]
        self.assertTrue(all(layer["same"] for layer in ours))
        self.assertEqual((added["same"], added["rebuilt"]), (False, None))

    def test_archives_and_digests_are_compared_without_an_image_in_the_store(self):
        archive = harness.scratch("archive") / "image.tar"
        self.kiln.run("export", IMAGE, archive)
        digest = self.kiln.json("inspect", IMAGE)[0]["manifest"]
        empty = self.copy_of_store()
        for name in ["index.json", "actions", "blobs"]:
            path = empty.store / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.verify(*PACKED, "--against", archive, kiln=empty)
        self.verify(*PACKED, "--digest", digest, kiln=empty)
        other = "sha256:" + "0" * 64
        line = self.verify(*PACKED, "--digest", other, kiln=empty, expected=6)
        self.assertEqual(line["rebuilt_manifest"], digest)
        done = empty.run("verify-build", *PACKED, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("is not in the store", done.stderr)
        self.assertIn("`kiln build`", done.stderr)

    def test_other_options_give_another_image(self):
        line = self.verify(*PACKED, "--compression", "zstd", expected=6)
        self.assertEqual(
            {layer["verdict"] for layer in line["layers"]},
            {"is the same tar stream, compressed otherwise"},
        )

    def test_a_package_that_rotted_in_the_store_is_not_believed(self):
        kiln = self.copy_of_store()
        package = next(it for it in self.kiln.locked(IMAGE)["deb"] if it["name"] == "base-files")
        file = kiln.store / "downloads/sha256" / package["sha256"].removeprefix("sha256:")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.unlink()
        file.write_bytes(content)
        lines, code = self.verdicts(kiln=kiln)
        # It would have to be fetched, which is not allowed here.
        self.assertEqual((code, lines[-1]["code"]), (5, 5))

    def test_people_are_told_what_differs(self):
        kiln = self.copy_of_store()
        blob = kiln.blob(self.manifest["layers"][self.layer_with("usr/bin/env")]["digest"])
        forged = repacked(blob, more_setuid)
        blob.unlink()
        blob.write_bytes(forged)
        done = kiln.run("--offline", "verify-build", *PACKED, check=False)
        self.assertEqual(done.returncode, 6)
        self.assertRegex(done.stdout, r"layer \d+ differs in 1 path \(and its content is not what")
        self.assertIn("/usr/bin/env: mode 4755, rebuilt 0755", done.stdout)
        self.assertRegex(done.stdout, r"made by +debian-12: .* \(action [0-9a-f]{12}\)")
        self.assertIn("the image is not what the lock gives", done.stderr)


class Executed(unittest.TestCase):
    def test_an_image_of_what_was_executed_is_made_again(self):
        kiln = harness.built()
        image = harness.IMAGE if FULL else IMAGE
        kiln.build(image)
        done = kiln.run("verify-build", image)
        self.assertIn("manifest  same", done.stdout)


if __name__ == "__main__":
    unittest.main()
