"""Notes and tags; the request of a search as it was given"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

ANNOTATED = ("searches", "supernets", "datasets")


def upgrade() -> None:
    for table in ANNOTATED:
        op.add_column(table, sa.Column("notes", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("tags", sa.Text(), nullable=False, server_default=""))
    op.add_column("searches", sa.Column("asked", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("searches", "asked")
    for table in ANNOTATED:
        op.drop_column(table, "tags")
        op.drop_column(table, "notes")
