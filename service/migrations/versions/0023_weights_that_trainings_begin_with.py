"""Subnets whose training begins with another's trained weights"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluations", sa.Column("start", sa.JSON(none_as_null=True), nullable=True))
    for column in ("start_weights", "weights"):
        op.add_column("evaluations", sa.Column(column, sa.String(length=64), nullable=True))


def downgrade() -> None:
    for column in ("weights", "start_weights", "start"):
        op.drop_column("evaluations", column)
