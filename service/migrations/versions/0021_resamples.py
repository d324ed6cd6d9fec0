"""The resamples behind verified intervals; how many rows of a dataset are of each class"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluations", sa.Column("resamples", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("datasets", sa.Column("class_counts", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "class_counts")
    op.drop_column("evaluations", "resamples")
