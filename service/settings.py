"""The settings of the service process, read once at start-up."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Each field is read from ``ELASTICNAS_<FIELD>``; lists are JSON."""

    model_config = SettingsConfigDict(env_prefix="ELASTICNAS_", extra="ignore")

    data_dir: Path = Field(
        default=Path("data"), description="blobs, incoming uploads and the SQLite file live here"
    )
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
        description="drive searches and record results in this process; true in exactly one "
        "process per database, false in further API processes beside it",
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
        default=32 * 2**20, description="largest body of any other request"
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
        default=120.0, description="how long a registration waits for a worker's report"
    )
    evaluation_lease_seconds: PositiveFloat = Field(
        default=900.0, description="an evaluation without a result for this long is sent again"
    )
    export_lease_seconds: PositiveFloat = Field(
        default=900.0, description="an export without a result for this long is sent again"
    )
    worker_silence_seconds: PositiveFloat = Field(
        default=30.0, description="a worker not heard from for this long counts as gone"
    )
    tick_seconds: PositiveFloat = Field(
        default=0.25, description="how often searches are started, timed and re-sent"
    )

    @property
    def resolved_database_url(self) -> str:
        """The URL in use: `database_url`, or the SQLite file in `data_dir`."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'elasticnas.db'}"

    @property
    def blob_dir(self) -> Path:
        """Content-addressed files; workers on the same machine may read them here."""
        return self.data_dir / "blobs"

    @property
    def incoming_dir(self) -> Path:
        """Uploads while they stream in; on the data volume, so that storing is a rename."""
        return self.data_dir / "incoming"
