"""Fronts measured once more on data that the search never saw"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("evaluations", sa.Column("verified", sa.JSON(none_as_null=True), nullable=True))
    # No constraint: SQLite adds one by making the table anew, and deleting the old table deletes
    # whatever refers to its rows.
    op.add_column(
        "searches", sa.Column("verify_share", sa.Double(), nullable=False, server_default="0")
    )
    op.add_column("searches", sa.Column("verify_dataset_id", sa.String(length=40), nullable=True))
    op.add_column(
        "searches", sa.Column("verify_dataset_digest", sa.String(length=64), nullable=True)
    )
    op.create_index("ix_searches_verify_dataset_id", "searches", ["verify_dataset_id"])


def downgrade() -> None:
    op.drop_index("ix_searches_verify_dataset_id", table_name="searches")
    for column in ("verify_dataset_digest", "verify_dataset_id", "verify_share"):
        op.drop_column("searches", column)
    op.drop_column("evaluations", "verified")
