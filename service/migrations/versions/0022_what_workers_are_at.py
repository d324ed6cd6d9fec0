"""What a worker's device calls itself, how busy the worker is, and its memory"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("device_name", sa.String(length=200), nullable=True))
    op.add_column("workers", sa.Column("busy", sa.Double(), nullable=True))
    op.add_column("workers", sa.Column("memory", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for column in ("memory", "busy", "device_name"):
        op.drop_column("workers", column)
