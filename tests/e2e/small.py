"""Small families on a real Debian, for what executes: one base, and a bundle for each purpose."""

import json
import re
import shutil

import harness

# What the packages of the base show: users, groups, set-group-id programs, alternatives.
PACKAGES = ["ca-certificates", "openssh-client", "python3"]


def base_with(base, packages):
    """The text of a base of the reference family with other packages, and without what stands below
    them: environment and files."""
    text = (harness.ROOT / f"family/bases/{base}.toml").read_text().partition("[env]")[0]
    return re.sub(r"packages = \[.*?^\]", f"packages = {packages}", text, flags=re.S | re.M)


def begin_family(place):
    """What all families of tests need: keyrings, and a directory for bases."""
    shutil.copytree(harness.ROOT / "family/keyrings", place / "keyrings")
    (place / "bases").mkdir()


def write_family(
    place, bundles, packages=PACKAGES, archives="", settings="", scripts=(), base="debian-12"
):
    """Writes a family with one base. `bundles` maps names to the text of their files; each becomes
    an image `runtime-NAME`. `scripts` maps names to what `script` runs."""
    begin_family(place)
    text = base_with(base, packages)
    environment = '\n[env]\nPATH = "/opt/app-root/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n'
    (place / f"bases/{base}.toml").write_text(text + archives + environment)
    toml = f'[family]\nname = "small"\nrelease = "1"\n{settings}\n'
    for name, bundle in bundles.items():
        (place / f"bundles/{name}").mkdir(parents=True)
        (place / f"bundles/{name}/bundle.toml").write_text(f'title = "{name}"\n{bundle}')
        for script, text in dict(scripts).items():
            (place / f"bundles/{name}/{script}").write_text(text)
        toml += f'\n[[image]]\nbase = "{base}"\nbundle = "{name}"\n'
    (place / "kiln.toml").write_text(toml)
    return place


def run(*command, user="root"):
    """A `[[run]]` table."""
    # Strings of JSON are strings of TOML, too.
    return f'\n[[run]]\ncommand = {json.dumps(command)}\nuser = "{user}"\n'


def script(program, name, *arguments, user="root"):
    """A `[[run]]` table that runs a script of the family."""
    artifact = f'\n[[run.artifact]]\nfile = "{name}"\nto = "/mnt/{name}"\n'
    return run(program, f"/mnt/{name}", *arguments, user=user) + artifact
