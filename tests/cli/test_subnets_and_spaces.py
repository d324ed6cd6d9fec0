"""Commands about single subnets, spaces, notes and lists, against a server on a port.

Its worker computes instead of measuring, which spares these tests a model.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import elasticnas
from tests.page.serving import Served, served

Command = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def search(server: Served) -> dict[str, Any]:
    """A finished search of 24 subnets, in a race over 500 rows."""
    supernet = server.supernet()
    rows = server.dataset(rows=500)
    found = server.search(
        supernet_id=supernet, dataset_id=rows, racing={"confidence": 0.9}, name="races"
    )
    return server.wait(found)


@pytest.fixture
def does(server: Served, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command that must succeed; its output."""
    monkeypatch.setattr("elasticnas.cli.output.out.width", 300)

    def run(*arguments: object) -> str:
        done = elasticnas(*arguments, "--server", server.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def refused(server: Served) -> Command:
    """Run a command that must be refused as bad input; the line that says why."""

    def run(*arguments: object) -> str:
        done = elasticnas(*arguments, "--server", server.url)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        return done.stderr

    return run


def lines_with(text: str, word: str) -> list[list[str]]:
    """The words of each line that begins with this one."""
    split = (line.split() for line in text.splitlines())
    return [words for words in split if words and words[0] == word]


def measured(server: Served, search: dict[str, Any]) -> list[int]:
    """The numbers of the subnets that were measured on every row."""
    page = server.get(f"/v1/searches/{search['id']}/evaluations", state="completed")
    return [each["number"] for each in page["items"]]


def test_a_subnet_shows_what_it_measured_costs_and_chose(
    server: Served, search: dict[str, Any], does: Command, refused: Command
):
    number = server.get(f"/v1/searches/{search['id']}/front")["items"][0]["number"]
    found = server.get(f"/v1/searches/{search['id']}/evaluations/{number}")
    shown = does("subnet", search["id"], number)
    assert "completed, on the front" in shown
    assert lines_with(shown, "accuracy") == [["accuracy", f"{found['metrics']['accuracy']:.4f}"]]
    assert lines_with(shown, "params") == [["params", f"{found['cost']['params']:,}"]]
    for name, choice in found["subnet"].items():
        assert lines_with(shown, name) == [[name, str(choice)]]
    assert json.loads(does("subnet", search["id"], number, "--json")) == found
    assert "evaluation" in refused("subnet", search["id"], 999)


def test_two_subnets_are_compared_with_a_paired_interval(
    server: Served, search: dict[str, Any], does: Command
):
    a, b = measured(server, search)[:2]
    found = server.get(f"/v1/searches/{search['id']}/compare", a=a, b=b)
    assert json.loads(does("compare", search["id"], a, b, "--json")) == found
    shown = does("compare", search["id"], a, b)
    accuracy = found["metrics"]["accuracy"]
    assert f"the {found['measured_on']['rows']} rows that the search measured" in shown
    [row] = lines_with(shown, "accuracy")
    expected = f"{accuracy['difference']:+.4f} {accuracy['low']:+.4f} to {accuracy['high']:+.4f}"
    assert expected in " ".join(row)
    assert ("could be chance" in " ".join(row)) == accuracy["could_be_chance"]
    [gflops] = lines_with(shown, "gflops")
    assert gflops[1] == f"{found['cost']['gflops']['a']:.4f}"
    for each in found["dimensions"]:
        assert lines_with(shown, each["name"]) == [[each["name"], str(each["a"]), str(each["b"])]]
    same = does("compare", search["id"], a, a)
    assert "they have the same choices" in same


def test_without_outcomes_of_rows_a_comparison_says_why_it_has_no_interval(
    server: Served, search: dict[str, Any], does: Command
):
    plain = server.search(
        supernet_id=search["supernet_id"], dataset_id=server.dataset(), budget={"evaluations": 4}
    )
    server.wait(plain)
    shown = does("compare", plain, 0, 1)
    assert "no interval: " in shown
    assert "chance" not in shown


def test_exports_say_what_is_possible_or_why_not_and_what_is_built(
    server: Served, search: dict[str, Any], does: Command, tmp_path: Path
):
    number = next(
        each["number"]
        for each in server.get(f"/v1/searches/{search['id']}/evaluations", state="completed")[
            "items"
        ]
        if each["subnet"]["layer.0.heads"] < 12
    )
    before = does("exports", search["id"], number)
    assert lines_with(before, "transformers") == [["transformers", "yes", "absent"]]
    [peft] = lines_with(before, "peft")
    assert peft[1] == "no"
    assert "this subnet cuts" in " ".join(peft)
    does("weights", search["id"], number, "--output", tmp_path / "subnet")
    [built] = lines_with(does("exports", search["id"], number), "transformers")
    assert built[1:3] == ["yes", "ready"]
    assert built[4] in ("bytes", "kB")
    as_json = json.loads(does("exports", search["id"], number, "--json"))
    assert as_json == server.get(f"/v1/searches/{search['id']}/subnets/{number}/exports")


def test_a_pending_export_says_who_builds_it(tmp_path: Path):
    with served(tmp_path) as server:
        search = server.search(budget={"evaluations": 3})
        server.wait(search)
        server.worker.exports_open.clear()
        path = f"/v1/searches/{search}/subnets/0/weights"
        assert server.client.get(path).status_code == 202
        server.builds("gpu-1", 1_500_000)

        def told() -> bool:
            done = elasticnas("exports", search, 0, "--server", server.url)
            return "gpu-1 builds it, 1.5 MB so far" in " ".join(done.stdout.split())

        server.until(told)
        server.worker.exports_open.set()


def test_layers_have_a_row_each_with_what_they_may_choose(search: dict[str, Any], does: Command):
    shown = does("supernet", "layers", search["supernet_id"])
    assert shown.split()[:4] == ["layer", "heads", "ffn", "rank"]
    for layer in range(3):
        [row] = lines_with(shown, str(layer))
        assert " ".join(row) == f"{layer} 12, 9, 6 1024, 768, 512, 256 8, 4, 2"
    as_json = json.loads(does("supernet", "layers", search["supernet_id"], "--json"))
    assert [each["layer"] for each in as_json["layers"]] == [0, 1, 2]


def test_feasibility_says_the_share_that_constraints_leave(
    server: Served, search: dict[str, Any], does: Command, refused: Command
):
    supernet = search["supernet_id"]
    ends = server.get(f"/v1/supernets/{supernet}")["cost"]
    middle = (ends["maximal"]["gflops"] + ends["minimal"]["gflops"]) / 2
    asked = ("supernet", "feasibility", supernet, "--constraint", f"gflops<={middle}")
    found = json.loads(does(*asked, "--json"))
    assert 0 < found["share"]["value"] < 1
    shown = does(*asked)
    first = shown.splitlines()[0]
    assert first.startswith(f"{100 * found['share']['value']:.3g} % of 46,656 subnets")
    assert "counted" in first
    [row] = lines_with(shown, "gflops")
    assert row[1:] == [
        *(f"{found['range']['gflops'][end]:.4f}" for end in ("low", "high")),
        *(f"{found['feasible']['gflops'][end]:.4f}" for end in ("low", "high")),
    ]
    assert does("supernet", "feasibility", supernet).startswith("100 %")
    none = does("supernet", "feasibility", supernet, "--constraint", "gflops<=1e-6")
    assert none.startswith("0 %")
    assert "gflops<9" in refused("supernet", "feasibility", supernet, "--constraint", "gflops<9")
    assert "constraints/0/cost" in refused(
        "supernet", "feasibility", supernet, "--constraint", "charm<=9"
    )


def test_costs_come_layer_by_layer_and_for_many_subnets(
    search: dict[str, Any], does: Command, refused: Command, tmp_path: Path
):
    supernet = search["supernet_id"]
    shown = does("supernet", "cost", supernet, "--per-layer")
    sums = [
        sum(float(lines_with(shown, row)[0][1]) for row in rows)
        for rows in (("0", "1", "2", "rest"), ("all",))
    ]
    assert sums[0] == pytest.approx(sums[1], abs=2e-4)
    many = tmp_path / "subnets.json"
    many.write_text('[{}, {"layer.0.ffn.width": 256}]')
    listed = does("supernet", "cost", supernet, "--subnets", many)
    [largest], [smaller] = lines_with(listed, "0"), lines_with(listed, "1")
    assert float(smaller[1]) < float(largest[1])
    as_json = json.loads(does("supernet", "cost", supernet, "--subnets", many, "--json"))
    assert [f"{each['cost']['gflops']:.4f}" for each in as_json["items"]] == [
        largest[1],
        smaller[1],
    ]
    many.write_text('{"layer.0.ffn.width": 256}')
    assert "no list of subnets" in refused("supernet", "cost", supernet, "--subnets", many)


def test_everything_with_a_name_is_noted_and_found_by_text_and_tag(
    server: Served, search: dict[str, Any], does: Command, refused: Command
):
    things = {
        "search": ("searches", search["id"]),
        "supernet": ("supernets", search["supernet_id"]),
        "dataset": ("datasets", search["dataset_id"]),
    }
    for command, (kind, identifier) in things.items():
        given = ("--name", f"my {command}", "--notes", "the ninth try", "--tag", "a", "--tag", "b")
        assert does(command, "note", identifier, *given) == ""
        found = server.get(f"/v1/{kind}/{identifier}")
        assert (found["name"], found["notes"], found["tags"]) == (
            *(f"my {command}", "the ninth try"),
            ["a", "b"],
        )
        for asked in (("--text", "NINTH"), ("--tag", "b")):
            listed = json.loads(does(command, "list", *asked, "--json"))
            assert [each["id"] for each in listed] == [identifier]
        assert json.loads(does(command, "list", "--text", "tenth", "--json")) == []
        does(command, "note", identifier, "--notes", "", "--no-tags")
        found = server.get(f"/v1/{kind}/{identifier}")
        assert (found["name"], found["notes"], found["tags"]) == (f"my {command}", None, [])
        assert "there is nothing to write" in refused(command, "note", identifier)
        assert "--no-tags" in refused(command, "note", identifier, "--tag", "a", "--no-tags")
    assert "name" in refused("dataset", "note", search["dataset_id"], "--name", "")


def test_lists_are_narrowed_and_sorted(search: dict[str, Any], does: Command):
    def ids(*arguments: object) -> list[str]:
        return [each["id"] for each in json.loads(does(*arguments, "--json"))]

    assert search["id"] in ids("search", "list", "--supernet", search["supernet_id"])
    assert ids("search", "list", "--dataset", search["dataset_id"]) == [search["id"]]
    assert ids("search", "list", "--state", "failed") == []
    supernets = ids("supernet", "list", "--state", "ready", "--method", "lonas")
    assert supernets == ids("supernet", "list", "--sort", "created_at")[::-1]
    assert ids("supernet", "list", "--method", "shears") == []
    datasets = json.loads(does("dataset", "list", "--sort=-name", "--json"))
    names = [each["name"].lower() for each in datasets]
    assert names == sorted(names, reverse=True)
    assert ids("dataset", "list", "--task", "generation") == []
    jobs = json.loads(does("job", "list", "--kind", "registration", "--json"))
    assert {each["id"] for each in jobs} == set(supernets)
    assert ids("job", "list", "--text", "no such name") == []


def test_evaluations_are_narrowed_and_sorted(
    server: Served, search: dict[str, Any], does: Command, refused: Command
):
    def shown(*arguments: object) -> list[dict[str, Any]]:
        return [json.loads(line) for line in does(*arguments).splitlines()]

    best_first = shown(
        *("search", "evaluations", search["id"], "--state", "completed", "--sort=-accuracy")
    )
    values = [each["metrics"]["accuracy"] for each in best_first]
    assert values == sorted(values, reverse=True)
    assert len(values) == search["progress"]["completed"]
    bound = sorted(each["cost"]["gflops"] for each in best_first)[5]
    within = shown("search", "evaluations", search["id"], "--max-gflops", bound)
    assert within
    assert all(each["cost"]["gflops"] <= bound for each in within)
    front = server.get(f"/v1/searches/{search['id']}/front")["items"]
    members = shown("search", "evaluations", search["id"], "--on-front")
    assert {each["number"] for each in members} == {each["number"] for each in front}
    assert "charm" in refused("search", "evaluations", search["id"], "--sort", "charm")


def test_points_are_csv_with_a_row_for_each_result(
    server: Served, search: dict[str, Any], does: Command, refused: Command
):
    fields = ("--field", "number", "--field", "gflops", "--field", "choices")
    read = list(csv.DictReader(io.StringIO(does("search", "points", search["id"], *fields))))
    expected = server.get(f"/v1/searches/{search['id']}/points", fields="number,gflops,choices")
    assert [int(row["number"]) for row in read] == expected["columns"]["number"]
    assert [float(row["gflops"]) for row in read] == expected["columns"]["gflops"]
    assert [json.loads(row["choices"]) for row in read] == expected["columns"]["choices"]
    rest = does("search", "points", search["id"], *fields, "--after", 20).splitlines()
    assert len(rest) == 1 + len(read) - 20
    assert json.loads(does("search", "points", search["id"], *fields, "--json")) == expected
    assert "charm" in refused("search", "points", search["id"], "--field", "charm")


def test_a_dataset_shows_how_many_rows_are_of_each_class(search: dict[str, Any], does: Command):
    shown = does("dataset", "show", search["dataset_id"])
    assert "500 rows" in shown
    assert lines_with(shown, "0") == [["0", "250", "50.0", "%"]]
    assert json.loads(does("dataset", "show", search["dataset_id"], "--json"))["rows"] == 500


def test_workers_say_what_they_are_and_how_busy(server: Served, does: Command):
    assert does("workers") == "no worker has been heard from; start one with 'elasticnas worker'\n"
    server.worker.heartbeat(busy=0.5, device_name="an abacus")
    server.until(lambda: server.get("/v1/workers")["items"])
    [row] = lines_with(does("workers"), "stand-in")
    assert " ".join(row[1:]).startswith("arithmetic, an abacus yes 50 %")
    assert json.loads(does("workers", "--json"))[0]["name"] == "stand-in"


def test_meta_says_what_the_server_can_do(server: Served, does: Command):
    known = server.get("/v1/meta")
    shown = does("meta")
    assert shown.startswith(f"ElasticNAS {known['version']}")
    for kind in ("tasks", "costs", "strategies", "recipes"):
        for each in known[kind]:
            assert lines_with(shown, each["name"]), each["name"]
    assert json.loads(does("meta", "--json"))["version"] == known["version"]
