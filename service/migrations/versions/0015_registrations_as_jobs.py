"""A registration can be retried; when its checkpoint was read"""

import sqlalchemy as sa
from alembic import op

from elasticnas.service.database import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "supernets", sa.Column("attempt", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column("supernets", sa.Column("read_at", UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("supernets", "read_at")
    op.drop_column("supernets", "attempt")
