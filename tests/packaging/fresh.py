"""A Python environment with the package as users install it, made without a network."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    _uv("build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable,
        "--out-dir", folder, ROOT)  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


class Fresh:
    """An environment that holds a wheel and what its base install, or some extras, ask for.

    The packages are links to those that the tests run on, so nothing is downloaded; whatever else
    is installed here cannot be imported there.
    """

    def __init__(self, folder: Path, wheel: Path, *extras: str) -> None:
        _uv("venv", "--offline", "--python", sys.executable, folder)
        self.bin = folder / "bin"
        (self.site,) = folder.glob("lib/python*/site-packages")
        self.own = {path.name for path in self.site.iterdir()}
        _uv("pip", "install", "--offline", "--no-deps", "--python", self.bin / "python", wheel)
        self.added = {path.name for path in self.site.iterdir()} - self.own
        for name in _closure(_asked_for(self.site, extras)):
            self._link(metadata.distribution(name))

    def _link(self, distribution: metadata.Distribution) -> None:
        """Every top-level file and folder of a distribution."""
        names = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for name in names - {"__pycache__"}:
            target = self.site / name
            if not target.exists():
                target.symlink_to(Path(str(distribution.locate_file(name))))

    def run(
        self, *command: object, cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command of the environment's own."""
        program, *arguments = map(str, command)
        return subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(cwd), **environment},
        )


def _asked_for(site: Path, extras: tuple[str, ...]) -> list[Requirement]:
    (found,) = metadata.distributions(name="elasticnas", path=[str(site)])
    return _wanted(found, {"", *extras})


def _wanted(distribution: metadata.Distribution, extras: set[str]) -> list[Requirement]:
    asked = map(Requirement, distribution.requires or ())
    return [
        each
        for each in asked
        if each.marker is None or any(each.marker.evaluate({"extra": name}) for name in extras)
    ]


def _closure(asked: list[Requirement]) -> set[str]:
    """The names of all distributions that these requirements lead to."""
    found: dict[str, set[str]] = {}
    while asked:
        each = asked.pop()
        extras = {"", *each.extras}
        if not extras <= found.get(each.name, set()):
            found[each.name] = found.get(each.name, set()) | extras
            asked += _wanted(metadata.distribution(each.name), extras)
    return set(found)


def _uv(*arguments: object) -> None:
    done = subprocess.run([UV, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
