"""What coordinators do that is no search's."""

from __future__ import annotations

import threading

from sqlalchemy import event

from elasticnas.service.lifecycle import Errands
from tests.service.running import running_service, tar_of

ARCHIVE = {"archive": ("net.tar", tar_of({"base/x": "1"}))}


def test_while_nothing_waits_for_a_worker_the_database_is_asked_once(database_url, tmp_path):
    with running_service(database_url, tmp_path, coordinate=False) as running:
        service = running.client.app.state.service
        errands, statements, me = Errands(service), [], threading.get_ident()

        def note(_connection, _cursor, statement, *_) -> None:
            if statement.startswith("SELECT") and threading.get_ident() == me:
                statements.append(statement)

        event.listen(service.database.engine, "before_cursor_execute", note)
        errands.run()
        assert len(statements) == 1
        running.client.post("/v1/supernets", files=ARCHIVE)
        statements.clear()
        errands.run()
        assert len(statements) > 1
