"""A TCP proxy that can go silent: it stops forwarding, and closes nothing."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.backing import free_port


class Proxy:
    """Forwards connections of its port to another port of the loopback interface.

    While it is frozen it takes connections and bytes, as a kernel does whose process hangs, and
    forwards nothing. After `move` it forwards new connections alone: those made before, and
    while it was frozen, stay open and silent for ever, as after a failover.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._epoch = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Forward nothing from now on."""
        self._flows.clear()

    def resume(self) -> None:
        """Forward again, on every connection."""
        self._flows.set()

    def move(self, target: int | None = None) -> None:
        """Come back at another address: new connections work, old ones are never heard of again."""
        with self._lock:
            self._epoch += 1
            self._target = target or self._target
        self._flows.set()

    def close(self) -> None:
        """Close everything."""
        self._over = True
        with self._lock:
            self._epoch += 1
            for each in [self._listener, *self._open]:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        self._flows.set()

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(client)
            threading.Thread(target=self._serve, args=(client, self._epoch), daemon=True).start()

    def _serve(self, client: socket.socket, epoch: int) -> None:
        self._flows.wait()
        if epoch != self._epoch:
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open.append(server)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink, epoch), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, epoch: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if epoch != self._epoch:
                    return
                sink.sendall(data)
        self._flows.wait()
        if epoch == self._epoch:
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
