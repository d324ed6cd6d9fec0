"""Installs the rooms at the top level as parts of one import package, `elasticnas`.

A room is a folder that holds `py.typed`.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = sorted(marker.parent.name for marker in Path(__file__).parent.glob("*/py.typed"))

setup(
    packages=[
        f"elasticnas.{package}"
        for room in ROOMS
        for package in find_packages(include=[room, f"{room}.*"])
    ],
    package_dir={f"elasticnas.{room}": room for room in ROOMS},
    package_data={
        **{f"elasticnas.{room}": ["py.typed"] for room in ROOMS},
        "elasticnas.service.page": ["content/**"],
    },
)
