"""Installation: the package `ganeti` lives in lib/; everything declarative is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def find_scripts() -> list[str]:
    """Return the executable programs of daemons/ and tools/ that are installed as they are."""
    return [
        str(path.relative_to(HERE))
        for folder in ("daemons", "tools")
        for path in sorted((HERE / folder).glob("*"))
        if path.is_file() and path.stat().st_mode & 0o100 and path.name not in DEVELOPMENT_ONLY
    ]


DEVELOPMENT_ONLY = frozenset({"make-launchers", "make-venv", "prerequisites", "devcluster", "demo"})

setup(
    package_dir={"ganeti": "lib"},
    packages=["ganeti", *(f"ganeti.{name}" for name in find_packages(str(HERE / "lib")))],
    package_data={"ganeti": ["py.typed", "rapi/web/**"]},
    scripts=find_scripts(),
    zip_safe=False,
)
