"""Whether label names were given in the order of classes, or are the labels sorted"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "datasets",
        sa.Column("label_names_given", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    # Until now names that were not given were sorted and kept as if they had been. Of sorted names
    # none can tell any more, so they count as not given: a search then asks the super-network for
    # its names, and where that has none, it asks for a dataset with label_names.
    datasets = sa.table(
        "datasets",
        sa.column("id", sa.String()),
        sa.column("label_names", sa.JSON()),
        sa.column("label_names_given", sa.Boolean()),
    )
    connection = op.get_bind()
    for dataset_id, names in connection.execute(
        sa.select(datasets.c.id, datasets.c.label_names).where(datasets.c.label_names.is_not(None))
    ).all():
        if names is not None and names != sorted(names):
            connection.execute(
                datasets.update().where(datasets.c.id == dataset_id).values(label_names_given=True)
            )


def downgrade() -> None:
    op.drop_column("datasets", "label_names_given")
