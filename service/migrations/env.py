"""Run by Alembic; the connection comes from `elasticnas.service.database.Database.migrate`."""

from alembic import context

from elasticnas.service import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
