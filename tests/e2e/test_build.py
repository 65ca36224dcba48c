"""Building: what is done, what is not done again, and what comes out."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
import unittest

import harness


def sh(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, **options)


class Rebuild(unittest.TestCase):
    def test_a_second_build_packs_nothing_and_opens_no_package(self):
        kiln = harness.built()
        downloads = kiln.store / "downloads/sha256"
        hidden = downloads.with_name("hidden")
        downloads.rename(hidden)
        try:
            lines = kiln.json("--offline", "build", harness.IMAGE)
        finally:
            if downloads.exists():
                downloads.rmdir()
            hidden.rename(downloads)
        started = next(line for line in lines if line["event"] == "started")
        self.assertEqual(started["known"], started["steps"])
        self.assertFalse([line for line in lines if line["event"].startswith("step")])
        built = next(line for line in lines if line["event"] == "built")
        self.assertFalse([layer for layer in built["layers"] if layer["new"]])

    def test_one_changed_requirement_packs_only_what_depends_on_it_as_planned(self):
        family = harness.copy_of_family("changed")
        bundle = family / "bundles/datascience/bundle.toml"
        text = bundle.read_text()
        self.assertIn("requirements = [", text)
        bundle.write_text(text.replace("requirements = [", 'requirements = [\n  "tomli-w",', 1))
        kiln = harness.Kiln(harness.built().store, family)
        stale = kiln.run("build", harness.IMAGE, check=False)
        self.assertEqual(stale.returncode, 3)
        self.assertIn("tomli-w", stale.stderr)
        kiln.run("lock")
        planned = [line for line in kiln.json("plan", harness.IMAGE) if "step" in line]
        to_pack = {line["step"] for line in planned if not line["known"]}
        titles = [line["title"] for line in planned if not line["known"]]
        wanted = [r"compile tomli.w .*", r"compiled modules of datascience: \d+ wheels"]
        wanted.append(r"datascience: \d+ wheels")
        self.assertEqual(len(titles), len(wanted), titles)
        for title, pattern in zip(sorted(titles), wanted, strict=True):
            self.assertRegex(title, f"^{pattern}$")
        lines = kiln.json("build", harness.IMAGE)
        packed = {line["step"] for line in lines if line["event"] == "step-finished"}
        self.assertEqual(packed, to_pack)

    def test_planning_touches_neither_network_nor_store(self):
        kiln = harness.Kiln(harness.scratch("plan") / "store", harness.fresh_family())
        lines = kiln.json("--offline", "plan", harness.IMAGE)
        total = lines[-1]
        self.assertGreater(total["download_files"], 100)
        self.assertFalse(any((kiln.store / "downloads/sha256").iterdir()))
        for language, start in [("dot", "digraph"), ("mermaid", "graph")]:
            graph = kiln.run("--offline", "plan", "--graph", language, harness.IMAGE).stdout
            self.assertTrue(graph.startswith(start))


class Formats(unittest.TestCase):
    def test_every_layer_is_what_gzip_and_tar_and_its_diff_id_say(self):
        kiln = harness.built()
        diff_ids = kiln.config()["rootfs"]["diff_ids"]
        for (blob, _), diff_id in zip(kiln.layers(), diff_ids, strict=True):
            with open(blob, "rb") as compressed:
                gzip = subprocess.Popen(["gzip", "-dc"], stdin=compressed, stdout=subprocess.PIPE)
                digest = hashlib.sha256()
                listing = subprocess.Popen(
                    ["tar", "-tf", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
                )
                for chunk in iter(lambda: gzip.stdout.read(1 << 20), b""):
                    digest.update(chunk)
                    listing.stdin.write(chunk)
                listing.stdin.close()
                self.assertEqual((gzip.wait(), listing.wait()), (0, 0))
            self.assertEqual(f"sha256:{digest.hexdigest()}", diff_id)

    def test_entries_are_sorted_and_every_parent_is_listed(self):
        kiln = harness.built()
        for blob, history in kiln.layers():
            with tarfile.open(blob, "r:gz") as layer:
                # What is removed has the place of its path.
                names = [
                    re.sub(rb"(^|/)\.wh\.([^/]*)$", rb"\1\2", os.fsencode(member.name))
                    for member in layer
                ]
            self.assertEqual(names, sorted(set(names)), history["comment"])
            known = set(names)
            for name in names:
                parent = name.rpartition(b"/")[0]
                self.assertTrue(not parent or parent in known, name)

    def test_zstd_layers_have_the_diff_ids_of_gzip_layers(self):
        kiln = harness.with_downloads("zstd")
        kiln.build(harness.IMAGE, "--compression", "zstd")
        self.assertEqual(
            kiln.config()["rootfs"]["diff_ids"], harness.built().config()["rootfs"]["diff_ids"]
        )
        for layer in kiln.manifest()["layers"]:
            self.assertEqual(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd")
            sh("zstd", "--test", "--quiet", kiln.blob(layer["digest"]))

    def test_skopeo_reads_store_archives_and_directory(self):
        kiln = harness.built()
        manifest = kiln.manifest()
        name = kiln.json("inspect", harness.IMAGE)[0]["image"]
        out = harness.scratch("export")
        kiln.run("export", harness.IMAGE, out / "image.tar")
        kiln.run("export", "--format", "oci-dir", harness.IMAGE, out / "layout")
        kiln.run("export", "--format", "docker-archive", harness.IMAGE, out / "docker.tar")
        wanted = [layer["digest"] for layer in manifest["layers"]]
        for place in [
            f"oci:{kiln.store}:{name}",
            f"oci-archive:{out / 'image.tar'}:{name}",
            f"oci:{out / 'layout'}:{name}",
        ]:
            raw = sh("skopeo", "inspect", "--raw", place).stdout
            self.assertEqual([layer["digest"] for layer in json.loads(raw)["layers"]], wanted)
            sh("skopeo", "copy", place, f"dir:{harness.scratch('copy')}")
        sh("skopeo", "copy", f"docker-archive:{out / 'docker.tar'}", f"dir:{harness.scratch('copy')}")

    def test_an_image_says_what_it_is(self):
        config = harness.built().config()
        settings = config["config"]
        self.assertEqual(settings["User"], "1001:0")
        self.assertEqual(settings["WorkingDir"], "/opt/app-root/src")
        self.assertIn("8888/tcp", settings["ExposedPorts"])
        for key in [
            "name",
            "summary",
            "description",
            "io.k8s.description",
            "io.k8s.display-name",
            "authoritative-source-url",
            "io.openshift.build.commit.ref",
            "io.openshift.build.source-location",
            "io.openshift.build.image",
            "org.opencontainers.image.title",
            "org.opencontainers.image.version",
        ]:
            self.assertTrue(settings["Labels"].get(key), key)
        for layer in config["history"]:
            self.assertRegex(layer["created_by"], r"^kiln (pack|configure|compile) (base|bundle|ide|accelerator)/")
            self.assertTrue(layer["comment"])


if __name__ == "__main__":
    unittest.main()
