"""How the page copes with a large search, measured in a browser.

    python -m benchmarks.page
    python -m benchmarks.page --evaluations 1000 50000

For each size, on this machine and in one run: how long the main view takes to open, until its front
and dots are drawn; and how long a frame takes while a brush is dragged along an axis of the
parallel coordinates, which filters the front and the dots. Bars: 2 seconds, 50 ms. Beside each, the
time of the processor that the tab's own thread takes for it, which other work on the machine moves
less; what the server takes is not in it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from sqlalchemy import delete, insert, inspect, select, update

from elasticnas.search.pareto import non_dominated
from elasticnas.service.database import Database
from elasticnas.service.searches.tables import EvaluationRow, FrontPointRow, SearchRow
from tests.page.serving import served

MEASURED = 30
"""Subnets that a worker measures before the others are made up."""
STEPS = 60
FRAMES = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const tick = (now) => { frames_ms.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}"""
DRAWN = """count => {
  const front = document.querySelector('nas-front-chart');
  return front?.laid?.length === count && document.querySelector('.front .member')
    ? performance.now() : false;
}"""


def grow(database: Database, search_id: str, evaluations: int) -> None:
    """Give a search so many made-up results, with a front as they have it."""
    rng = np.random.default_rng(0)
    with database.write() as session:
        first = select(EvaluationRow).where(EvaluationRow.search_id == search_id).limit(1)
        row = session.scalars(first).one()
        columns = [attribute.key for attribute in inspect(EvaluationRow).column_attrs]
        like = {name: getattr(row, name) for name in columns}
        share = rng.uniform(0.3, 1.0, evaluations)
        accuracy = 0.5 + 0.4 * share**0.5 - rng.gamma(2.0, 0.01, evaluations)
        values = [
            {
                **like,
                "number": n,
                "sequence": n + 1,
                "subnet_key": f"{n}",
                "origin": row.origin if n == row.number else "strategy",
                "metrics": {"accuracy": float(accuracy[n]), "f1": float(accuracy[n] - 0.01)},
                "cost": {name: float(cost * share[n]) for name, cost in row.cost.items()},
            }
            for n in range(evaluations)
        ]
        front = np.flatnonzero(non_dominated(np.column_stack([-accuracy, share])))
        session.execute(delete(FrontPointRow).where(FrontPointRow.search_id == search_id))
        session.execute(delete(EvaluationRow).where(EvaluationRow.search_id == search_id))
        for start in range(0, evaluations, 5000):
            session.execute(insert(EvaluationRow), values[start : start + 5000])
        moment = datetime.now(UTC)
        entered = {"search_id": search_id, "entered_at": moment}
        session.execute(
            insert(FrontPointRow),
            [entered | {"number": int(n), "entered_sequence": int(n) + 1} for n in front],
        )
        counts = {"completed": evaluations, "recorded": evaluations, "front_size": len(front)}
        session.execute(update(SearchRow).where(SearchRow.id == search_id).values(**counts))


def watched(page: Page) -> CDPSession:
    """A session that counts the processor's time of the page's thread."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def processor(session: CDPSession) -> float:
    """Milliseconds of the processor that the page's thread has taken so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def opening(browser: Browser, url: str, evaluations: int) -> tuple[float, float, float]:
    """Milliseconds from the navigation until front and dots are drawn, by the clock and of the
    page's processor, medians of five; and by the clock of the first, for which the server has
    nothing at hand yet.
    """
    taken = []
    for _ in range(5):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        session = watched(page)
        page.goto(url, wait_until="commit")
        drawn = page.wait_for_function(DRAWN, arg=evaluations, timeout=120_000)
        taken.append((float(drawn.json_value()), processor(session)))
        page.close()
    clock, work = np.median(taken, axis=0)
    return float(clock), float(work), taken[0][0]


def brushing(browser: Browser, url: str, evaluations: int) -> tuple[list[float], float]:
    """Milliseconds of each frame while a brush is dragged along the axis of the first cost, and of
    the page's processor a frame.
    """
    page: Page = browser.new_page(viewport={"width": 1280, "height": 1600})
    session = watched(page)
    page.goto(f"{url}?tab=parallel")
    page.wait_for_function(DRAWN, arg=evaluations, timeout=120_000)
    axis: Any = page.locator("[data-axis=gflops]").bounding_box()
    x, top, height = axis["x"] + axis["width"] / 2, axis["y"] + 4, axis["height"] - 8
    page.mouse.move(x, top)
    page.mouse.down()
    page.evaluate(FRAMES)
    before = processor(session)
    for step in range(STEPS):
        page.mouse.move(x, top + height * (step + 1) / STEPS)
    page.mouse.up()
    frames: list[float] = page.evaluate("frames_ms.slice(1)")
    work = (processor(session) - before) / len(frames)
    page.close()
    return frames, work


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--evaluations", type=int, nargs="+", default=[1000, 50_000])
    sizes = parser.parse_args().evaluations
    print(
        "| evaluations | opens first, ms | opens, ms | processor "
        "| frame of a brush, ms | 95 % | processor |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as running:
            search = running.search(budget={"evaluations": MEASURED})
            running.wait(search)
            grow(running.app.state.service.database, search, size)
            url = f"{running.url}/searches/{search}"
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                opens, opening_work, first = opening(browser, url, size)
                frames, frame_work = brushing(browser, url, size)
                browser.close()
            middle, late = np.percentile(frames, [50, 95])
            print(
                f"| {size:,} | {first:.0f} | {opens:.0f} | {opening_work:.0f} "
                f"| {middle:.1f} | {late:.1f} | {frame_work:.1f} |"
            )


if __name__ == "__main__":
    main()
