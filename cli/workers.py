"""``elasticnas workers``: who does the work of a server."""

from __future__ import annotations

from elasticnas.api_schemas.workers import WorkerRead, WorkKind, WorkRead
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.output import AsJson, out, print_json, size_text, table

ALIVE = {True: "yes", False: "no", None: "unknown: no coordinator runs"}


def workers(as_json: AsJson = False, server: Server = LOCAL) -> None:
    """The workers of a server: their devices, their memory, and what each is at."""
    found = server.workers()
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("no worker has been heard from; start one with 'elasticnas worker'")
        return
    rows = table("", "name", "device", "alive", "busy", "memory", "of the device", "at")
    for each in found:
        rows.add_row(
            each.name,
            f"{each.device}, {each.device_name}" if each.device_name else each.device,
            "loading" if each.loading else ALIVE[each.alive],
            "" if each.busy is None else f"{100 * each.busy:.0f} %",
            *_memory(each),
            "; ".join(map(_at, each.at)),
        )
    out.print(rows)


def _memory(worker: WorkerRead) -> tuple[str, str]:
    """What is taken of the host's memory, and of the device's."""
    memory = worker.memory
    if memory is None:
        return "", ""
    of_host = f"{size_text(memory.resident_bytes)} of {size_text(memory.limit_bytes)}"
    if memory.device_used_bytes is None or memory.device_total_bytes is None:
        return of_host, ""
    of_device = f"{size_text(memory.device_used_bytes)} of {size_text(memory.device_total_bytes)}"
    return of_host, of_device


def _at(work: WorkRead) -> str:
    """A piece of work in words: of what, and which of it."""
    what = work.name or work.search_id or work.supernet_id or work.job_id or ""
    if work.kind is WorkKind.STEP:
        return f"step {work.step} of {what}"
    numbers = ", ".join(map(str, work.numbers))
    return f"{work.kind} {numbers} of {what}" if numbers else f"{work.kind} of {what}"
