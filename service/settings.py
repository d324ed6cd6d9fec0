"""The settings of the service process, read once at start-up."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from elasticnas.service.blobs.settings import BlobSettings

QUEUES = ("redis://", "rediss://", "unix://")
SQLITE_FILE = "elasticnas.db"
DATABASES = ("sqlite", "postgresql+psycopg")


class ProcessSettings(BaseSettings):
    """What every long-running process reads."""

    model_config = SettingsConfigDict(
        env_prefix="ELASTICNAS_", env_ignore_empty=True, extra="ignore"
    )

    redis_url: str | None = Field(
        default=None,
        description="where the queue is, redis://:password@host:6379/0; None is a queue in the "
        "memory of a server that works alone",
    )
    plugins: list[str] = Field(
        default_factory=list,
        description="modules that each process imports as it starts: they register families, "
        "formats, tasks, strategies and recipes that do not come with ElasticNAS",
    )
    alive_file: Path | None = Field(
        default=None,
        description="a file that a coordinator or worker touches every few seconds while it "
        "works; for health checks",
    )
    stop_grace_seconds: PositiveFloat = Field(
        default=50.0,
        description="how long a server that is told to stop waits for open requests; what hangs "
        "after that is left behind. Less than the supervisor waits before it kills",
    )
    niceness: int = Field(
        default=10,
        ge=0,
        le=19,
        description="how far a coordinator or worker steps back for others on its machine, so that "
        "a server there answers at once: nice(2); 0 is not at all",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_of_redis(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(QUEUES):
            raise ValueError(f"this is no URL of Redis, which begins with {' or '.join(QUEUES)}")
        return url


class ServiceSettings(ProcessSettings, BlobSettings):
    """Each field is read from ``ELASTICNAS_<FIELD>``; lists are JSON."""

    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL; None is SQLite in data_dir/elasticnas.db. PostgreSQL is "
        "postgresql+psycopg://user@host/name",
    )
    migrate_on_start: bool = Field(
        default=True, description="bring the database schema up to date before serving"
    )
    coordinate: bool = Field(
        default=True,
        description="drive searches and record results in this process too; false leaves it to "
        "`elasticnas coordinate` or to other servers",
    )

    max_upload_bytes: PositiveInt = Field(
        default=20 * 2**30, description="largest request body of a checkpoint upload"
    )
    max_unpacked_bytes: PositiveInt = Field(
        default=40 * 2**30, description="largest total size of the files in a checkpoint"
    )
    max_archive_files: PositiveInt = Field(
        default=1000, description="most files in a checkpoint archive or folder"
    )
    max_dataset_bytes: PositiveInt = Field(
        default=256 * 2**20, description="largest request body of a dataset upload"
    )
    max_dataset_rows: PositiveInt = Field(default=1_000_000, description="most rows of a dataset")
    max_json_bytes: PositiveInt = Field(
        default=32 * 2**20,
        description="largest body of a search's request; other JSON bodies have 1 MiB at most",
    )

    server_paths: list[Path] = Field(
        default_factory=list,
        description="folders from which a super-network may be registered by path; none by default",
    )
    allow_hub: bool = Field(
        default=False,
        description="whether a super-network may be registered from the Hugging Face hub",
    )

    inspection_timeout_seconds: PositiveFloat = Field(
        default=120.0,
        description="how long the request of a registration waits for a worker to read the "
        "checkpoint; then it is answered 202, and the reading goes on",
    )
    coordinator_lease_seconds: PositiveFloat = Field(
        default=10.0,
        description="a coordinator's searches are taken over when it was not heard from so long",
    )
    evaluation_lease_seconds: PositiveFloat = Field(
        default=300.0,
        description="an evaluation sent this long ago that no living worker is at is sent again",
    )
    database_request_seconds: float = Field(
        default=4.0,
        ge=1,
        description="how long a request waits for PostgreSQL before it is answered 503",
    )
    database_work_seconds: float = Field(
        default=30.0,
        ge=1,
        description="how long a coordinator waits for an answer of PostgreSQL before it connects "
        "anew",
    )
    export_lease_seconds: PositiveFloat = Field(
        default=900.0, description="an export without a result for this long is sent again"
    )
    worker_silence_seconds: PositiveFloat = Field(
        default=30.0, description="a worker not heard from for this long counts as gone"
    )
    orphan_grace_seconds: float = Field(
        default=24 * 3600.0,
        ge=3600,
        description="a blob that nothing refers to is deleted this long after it was found so, and "
        "after it was last stored; longer than any upload or export takes",
    )
    orphan_interval_seconds: PositiveFloat = Field(
        default=3600.0,
        validate_default=True,
        description="how often such blobs are looked for; at least twice in orphan_grace_seconds",
    )
    trained_weights_bytes: PositiveInt = Field(
        default=100 * 2**30,
        description="how much of the store one search may keep of weights that its subnets have "
        "learnt, until it is deleted; where their trainings begin with each other's",
    )
    tick_seconds: PositiveFloat = Field(
        default=0.25, description="how often searches are started, timed and re-sent"
    )

    @field_validator("database_url")
    @classmethod
    def _is_of_a_database(cls, url: str | None) -> str | None:
        from sqlalchemy import exc, make_url  # client commands read this file, and start faster

        try:
            if url is not None and make_url(url).drivername not in DATABASES:
                raise ValueError(f"the databases are {' and '.join(DATABASES)}")
        except exc.ArgumentError as error:
            raise ValueError("this is no URL of a database") from error
        return url

    @field_validator("orphan_interval_seconds")
    @classmethod
    def _is_short_beside_the_grace(cls, interval: float, info: ValidationInfo) -> float:
        """Two databases with one store notice each other in a collection, before they delete."""
        grace = info.data.get("orphan_grace_seconds")
        if grace is not None and 2 * interval > grace:
            raise ValueError(f"orphans would be looked for less than twice in {grace:g} seconds")
        return interval

    @property
    def resolved_database_url(self) -> str:
        """The URL in use: `database_url`, or the SQLite file in `data_dir`."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / SQLITE_FILE}"

    @property
    def incoming_dir(self) -> Path:
        """Uploads while they stream in; on the data volume, so that storing is a rename."""
        return self.data_dir / "incoming"
