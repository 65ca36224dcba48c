"""Requirement sets of the field, for tests of what kiln makes of wheels.

Each becomes a bundle on a base of the reference family, and an image `runtime-NAME`.
"""

import dataclasses
import os
import shutil

import harness


@dataclasses.dataclass(frozen=True)
class Set:
    """Requirements on a base, and the OS packages that importing them needs."""

    base: str
    requirements: list[str]
    packages: list[str] = dataclasses.field(default_factory=list)


FEW = {
    # Programs and headers in `.data`, `.pth` files, modules compiled by mypy, pkg_resources.
    "tools": Set(
        "debian-12",
        ["black[d,jupyter]", "coverage", "greenlet", "mypy", "ninja", "pybind11", "pytest", "pytest-cov"]
        + ["ruff", "setuptools<81", "wheel", "zope.interface<7", "zope.event<5"],
    ),
    # Namespaces of both kinds, data for Jupyter, a program with windows, hundreds of tiny files.
    "spaces": Set(
        "debian-13",
        ["google-auth", "google-cloud-storage[grpc]", "jaraco.collections", "jaraco.text", "protobuf"]
        + ["ruamel.yaml", "sphinxcontrib-applehelp", "sphinxcontrib-jsmath", "sphinx", "keyrings.alt"]
        + ["backports.tarfile", "ipywidgets", "qtconsole", "tzdata"],
    ),
}
ALL = FEW | {
    "science": Set(
        "debian-12",
        ["numpy", "scipy", "pandas", "matplotlib", "sympy", "statsmodels", "scikit-learn", "numba"]
        + ["numexpr", "tables", "h5py", "networkx", "xarray", "netcdf4", "seaborn", "pywavelets"]
        + ["cython", "zarr", "polars", "astropy", "pint", "emcee", "lmfit", "uncertainties"],
    ),
    "pages": Set(
        "debian-13",
        ["dash", "fonttools[ufo,unicode]", "ipywidgets", "qtconsole", "jupytext", "tzdata"],
    ),
    "tracking": Set(
        "debian-12",
        ["mlflow", "wandb", "tensorboard", "feast", "great-expectations", "dvc", "evidently"],
    ),
    "notebooks": Set(
        "debian-13",
        ["jupyterlab", "notebook", "nbconvert[webpdf]", "ipympl", "jupyterlab-git", "jupyterlab-lsp"]
        + ["python-lsp-server[all]", "nbdime", "papermill", "jupyter-resource-usage", "jupyterhub"]
        + ["xeus-python", "bqplot", "ipyleaflet", "nbgitpuller"],
    ),
}
CHOSEN = ALL if "KILN_E2E_FULL" in os.environ else FEW

# Modules that cannot be imported and what they say, each with the reason.
UNIMPORTABLE = {
    "matplotlib_inline: *'matplotlib'": "a part of IPython for those who have matplotlib",
    "qtpy: *No Qt bindings*": "works with any of four packages of Qt, and requires none",
}


def write_family(place, sets, bytecode):
    """Writes a family with an image for each set, on the bases of the reference family."""
    reference = harness.ROOT / "family"
    for part in ["keyrings", "bases"]:
        shutil.copytree(reference / part, place / part)
    toml = f'[family]\nname = "sets"\nrelease = "1"\nbytecode = {str(bytecode).lower()}\n'
    for name, it in sets.items():
        (place / "bundles" / name).mkdir(parents=True)
        text = f'title = "{name}"\nrequirements = {[*it.requirements, "pip"]}\npackages = {it.packages}\n'
        (place / "bundles" / name / "bundle.toml").write_text(text)
        toml += f'\n[[image]]\nbase = "{it.base}"\nbundle = "{name}"\n'
    (place / "kiln.toml").write_text(toml)
    return place
