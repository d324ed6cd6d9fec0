"""Where a process's settings come from: defaults, a file, the environment, the command line.

Each wins over the one before it. The file is TOML; one serves every process:

    redis_url = "redis://queue:6379/0"       # ELASTICNAS_REDIS_URL

    [worker]
    token_budget = 32768                     # ELASTICNAS_WORKER_TOKEN_BUDGET
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource

from elasticnas.api_schemas.problems import InputError
from elasticnas.client.passwords import masked
from elasticnas.service.settings import ServiceSettings
from elasticnas.worker.settings import WorkerSettings

Settings = TypeVar("Settings", bound=BaseSettings)

VARIABLE = "ELASTICNAS_CONFIG"
DEFAULT_FILE = Path("elasticnas.toml")
PREFIX = "ELASTICNAS_"
WORKER_TABLE = "worker"


class Origin(StrEnum):
    """Where a value was found."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


@dataclass(frozen=True)
class Configuration:
    """The file, if there is one, on top of which the environment and the options are read.

    ``content`` has its values by environment variable.
    """

    path: Path | None = None
    content: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def find(cls) -> Configuration:
        """The file that ``ELASTICNAS_CONFIG`` names, else ``elasticnas.toml`` if it is here.

        Raises:
            InputError: the file that was named cannot be read, it is not TOML, or it has a key
                that is no setting.
        """
        named = os.environ.get(VARIABLE)
        if not named and not DEFAULT_FILE.exists():
            return cls()
        path = Path(named) if named else DEFAULT_FILE
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InputError(
                f"the configuration file cannot be read: {error.strerror}",
                field=VARIABLE if named else "configuration",
                value=path,
                remedy=f"let {VARIABLE} name a TOML file, or unset it",
            ) from error
        except ValueError as error:  # not TOML, or not text
            raise InputError(
                f"this is not TOML: {error}", field=str(path), remedy="mend the file"
            ) from error
        return cls(path, _flat(path, content))

    def read(
        self,
        kind: type[Settings],
        options: Mapping[str, object] | None = None,
        *,
        defaults: Mapping[str, object] | None = None,
    ) -> Settings:
        """The settings of one kind. An option that is None was not given.

        ``defaults`` stand in for those of the class.

        Raises:
            InputError: a value is not what its setting takes; the error names its origin.
        """
        found = self._outside(kind)
        for name, value in (options or {}).items():
            if value is not None:
                found[name] = (value, Origin.OPTION)
        values: dict[str, Any] = {**(defaults or {})}
        values |= {name: value for name, (value, _) in found.items()}
        try:
            return kind(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            origin = found[name][1] if name in found else Origin.DEFAULT
            detail = first["msg"].removeprefix("Value error, ")
            raise self._refused(kind, name, origin, first["input"], detail) from error

    def origins(self, kind: type[BaseSettings]) -> dict[str, Origin]:
        """Where each field of these settings gets its value, options aside.

        Raises:
            InputError: a variable that holds JSON does not.
        """
        found = self._outside(kind)
        return {
            name: found[name][1] if name in found else Origin.DEFAULT for name in kind.model_fields
        }

    def _outside(self, kind: type[BaseSettings]) -> dict[str, tuple[Any, Origin]]:
        """What file and environment say, by field."""
        found: dict[str, tuple[Any, Origin]] = {}
        for name in kind.model_fields:
            if (key := variable(kind, name)) in self.content:
                found[name] = (self.content[key], Origin.FILE)
        environment = EnvSettingsSource(kind)
        for name, each in kind.model_fields.items():
            raw, key, is_complex = environment.get_field_value(each, name)
            try:
                value = environment.prepare_field_value(name, each, raw, is_complex)
            except ValueError as error:
                raise self._refused(kind, key, Origin.ENVIRONMENT, raw, "not JSON") from error
            if value is not None:
                found[name] = (value, Origin.ENVIRONMENT)
        return found

    def _refused(
        self, kind: type[BaseSettings], name: str, origin: Origin, value: object, detail: str
    ) -> InputError:
        where = {
            Origin.DEFAULT: name,
            Origin.FILE: f"{self.path}: {_key(variable(kind, name))}",
            Origin.ENVIRONMENT: variable(kind, name),
            Origin.OPTION: f"--{name.replace('_', '-')}",
        }[origin]
        meaning = kind.model_fields[name].description
        return InputError(
            detail[:1].lower() + detail[1:],
            field=where,
            value=masked(str(value)),
            remedy=f"this setting is: {meaning}",
        )


def read_worker_settings(
    configuration: Configuration, data_dir: Path, options: Mapping[str, object] | None = None
) -> WorkerSettings:
    """A worker's settings; its scratch folder is in ``data_dir`` unless set.

    Raises:
        InputError: see `Configuration.read`.
    """
    return configuration.read(WorkerSettings, options, defaults={"cache_dir": data_dir / "worker"})


def variable(kind: type[BaseSettings], name: str) -> str:
    """The environment variable of a field."""
    return f"{kind.model_config.get('env_prefix', '')}{name}".upper()


def _key(name: str) -> str:
    """Where a variable's setting is in the file: what is called worker_... is in a table."""
    key = name.removeprefix(PREFIX).lower()
    of_worker = f"{WORKER_TABLE}_"
    return f"{WORKER_TABLE}.{key.removeprefix(of_worker)}" if key.startswith(of_worker) else key


def _flat(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a file by environment variable.

    Raises:
        InputError: there is a key that is no setting.
    """
    table = content.get(WORKER_TABLE, {})
    if not isinstance(table, dict):
        raise InputError(
            "this is a table of settings",
            field=f"{path}: {WORKER_TABLE}",
            value=table,
            remedy=f"write [{WORKER_TABLE}] on a line of its own, and its settings below",
        )
    given = {key: value for key, value in content.items() if key != WORKER_TABLE}
    given |= {f"{WORKER_TABLE}.{key}": value for key, value in table.items()}
    known = {
        _key(name): name
        for kind in (ServiceSettings, WorkerSettings)
        for name in (variable(kind, each) for each in kind.model_fields)
    }
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise InputError(
                "there is no such setting",
                field=f"{path}: {key}",
                value=masked(str(value)),
                remedy=(f"did you mean {near[0]}? " if near else "")
                + "`elasticnas settings` lists them all",
            )
    return {known[key]: value for key, value in given.items()}
