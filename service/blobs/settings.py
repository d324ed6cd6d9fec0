"""Where blobs are: all that a worker process knows of the service's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class BlobSettings(BaseSettings):
    """Each field is read from ``ELASTICNAS_<FIELD>``.

    Credentials for S3 are found as every AWS tool finds them: ``AWS_ACCESS_KEY_ID`` and
    ``AWS_SECRET_ACCESS_KEY``, a profile, or the role of the machine.
    """

    model_config = SettingsConfigDict(
        env_prefix="ELASTICNAS_", env_ignore_empty=True, extra="ignore"
    )

    data_dir: Path = Field(
        default=Path("data"), description="blobs, incoming uploads and the SQLite file live here"
    )
    blobs_url: str | None = Field(
        default=None,
        description="where blobs are kept: s3://bucket or s3://bucket/prefix; None is the folder "
        "data_dir/blobs",
    )
    blobs_endpoint_url: str | None = Field(
        default=None,
        description="of an S3-compatible store, such as http://seaweedfs:8333; None is AWS's own",
    )
    blobs_region: str | None = Field(
        default=None, description="of the bucket; None is what the AWS environment says"
    )
    blobs_addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="how the bucket is named in requests: in the path, or in the host name; auto "
        "is path when blobs_endpoint_url is set, else the AWS SDK's choice",
    )
    blob_cache_dir: Path | None = Field(
        default=None,
        description="folder on a local disk for blobs fetched from S3, shared by the processes of "
        "one machine; None is data_dir/blob-cache",
    )
    blob_cache_bytes: PositiveInt = Field(
        default=50 * 2**30,
        description="how large that folder may grow; the least recently used blobs go first",
    )

    @field_validator("data_dir", "blob_cache_dir", mode="before")
    @classmethod
    def _is_named(cls, folder: object) -> object:
        """An empty name, as of a variable that is not set, would be the folder one is in."""
        if folder == "":
            raise ValueError("the name of this folder is empty; the one you are in is called .")
        return folder

    @property
    def blob_dir(self) -> Path:
        """The local folder of blobs, in use unless `blobs_url` is set."""
        return self.data_dir / "blobs"

    @property
    def resolved_blob_cache_dir(self) -> Path:
        """The folder in use: `blob_cache_dir`, or the one in `data_dir`."""
        return self.blob_cache_dir or self.data_dir / "blob-cache"
