"""``elasticnas create-bucket``: what must be there before the first process starts."""

from __future__ import annotations

from elasticnas.cli.extras import demand_extras


def create_bucket() -> None:
    """Create the S3 bucket that ELASTICNAS_BLOBS_URL names, unless it is there."""
    demand_extras("server")
    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.blobs import s3_opening
    from elasticnas.service.blobs.settings import BlobSettings

    bucket, is_new = s3_opening.create_bucket(Configuration.find().read(BlobSettings))
    print(f"bucket {bucket}: {'created' if is_new else 'was there'}")
