"""Datasets whose rows have choices, or no labels, and that say how they are measured by default"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("kind", sa.String(40), nullable=True))
    op.add_column("datasets", sa.Column("choices_columns", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("task_settings", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "task_settings")
    op.drop_column("datasets", "choices_columns")
    op.drop_column("datasets", "kind")
