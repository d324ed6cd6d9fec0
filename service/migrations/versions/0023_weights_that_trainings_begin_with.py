"""Subnets whose trainings begin with each other's weights, and race each other"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluations", sa.Column("start", sa.JSON(none_as_null=True), nullable=True))
    for column in ("start_weights", "weights", "training_state"):
        op.add_column("evaluations", sa.Column(column, sa.String(length=64), nullable=True))
    op.add_column("evaluations", sa.Column("bracket", sa.Integer(), nullable=True))
    op.add_column(
        "evaluations", sa.Column("rung", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("evaluations", sa.Column("rungs", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for column in ("rungs", "rung", "bracket"):
        op.drop_column("evaluations", column)
    for column in ("training_state", "weights", "start_weights", "start"):
        op.drop_column("evaluations", column)
