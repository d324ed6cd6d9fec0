"""The command line as a user meets it, against a real server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from elasticnas.cli import main
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.families import FAMILIES
from tests.backing import free_port
from tests.cli.test_failures import heed_ctrl_c
from tests.end_to_end.server import Server, write_rows
from tests.packaging.fresh import Fresh, build_wheel
from tests.supernet.languages import write_language_model
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import write_checkpoint, write_tokenizer

ROOT = Path(__file__).resolve().parents[2]

COMMANDS = [
    *([name] for name in ("serve", "coordinate", "worker", "demo", "train", "settings")),
    *([name] for name in ("front", "weights", "finetune", "plot", "create-bucket")),
    *([name] for name in ("subnet", "compare", "exports", "workers", "meta")),
    *(["supernet", name] for name in ("add", "list", "show", "space", "cost", "delete")),
    *(["supernet", name] for name in ("model-dict", "layers", "feasibility", "note")),
    *(["dataset", name] for name in ("add", "list", "show", "note", "delete")),
    *(["job", name] for name in ("list", "show", "watch", "events", "cancel", "retry", "delete")),
    *(["storage", name] for name in ("check", "hold", "claim")),
    *(["search", name] for name in ("follow", "list", "show", "evaluations", "events", "delete")),
    *(["search", name] for name in ("request", "note", "points")),
    ["events"],
    *(["search", name] for name in ("pause", "resume", "cancel", "extend", "retry")),
    ["search"],
    [],
]


def elasticnas(
    *arguments: object, server: Server | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a command of a client in this process, which spares it the start of another."""
    where = [] if server is None else ["--server", f"http://127.0.0.1:{server.port}"]
    given = [*map(str, arguments), *where]
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["elasticnas", *given]),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main.run()
    code = ended.value.code
    return subprocess.CompletedProcess(
        given, 0 if code is None else int(code), out.getvalue(), err.getvalue()
    )


def apart(
    *arguments: object, server: Server | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    where = [] if server is None else ["--server", f"http://127.0.0.1:{server.port}"]
    return subprocess.run(
        [sys.executable, "-m", "elasticnas.cli.main", *map(str, arguments), *where],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "data").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ids(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A super-network and a dataset, registered by command."""
    folder = tmp_path_factory.mktemp("input")
    checkpoint = write_lonas(folder / "checkpoint")
    rows = write_rows(folder / "rows.jsonl")
    supernet = elasticnas("supernet", "add", checkpoint, "--json", server=server)
    assert supernet.returncode == 0, supernet.stderr
    dataset = elasticnas(
        *("dataset", "add", rows, "--text-columns", "sentence", "--json"), server=server
    )
    assert dataset.returncode == 0, dataset.stderr
    return json.loads(supernet.stdout)["id"], json.loads(dataset.stdout)["id"]


@pytest.fixture(scope="module")
def search(server: Server, ids: tuple[str, str]) -> dict:
    """A finished search of 30 evaluations."""
    found = elasticnas(
        *("search", "--supernet", ids[0], "--dataset", ids[1], "--evaluations", 30, "--json"),
        *(
            "--strategy",
            "nsga2",
            "--set",
            "population_size=10",
            "--constraint",
            "gflops<=1",
            "--seed",
            5,
        ),
        server=server,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_every_command_explains_itself():
    from typer.testing import CliRunner

    for command in COMMANDS:
        result = CliRunner().invoke(main.app, [*command, "--help"])
        assert result.exit_code == 0, command
        assert "Usage" in result.output


def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with():
    from elasticnas.cli.lazy import imported

    for name, command in main.COMMANDS.items():
        told = imported(name, command).help.partition("\n\n")[0]
        assert " ".join(told.split()) == command.line, name


HEAVY = {"numpy", "torch", "pydantic", "httpx2", "fastapi", "sqlalchemy", "transformers"}
OF_A_CLIENT = {"pydantic", "httpx2"}


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["searhc"], {"pydantic"}),  # which Typer imports as it looks for a likely name
        (["search", "list", "--help"], OF_A_CLIENT),
        (["job", "list", "--help"], OF_A_CLIENT),
        (["supernet", "list", "--help"], OF_A_CLIENT | {"numpy"}),
        (["front", "--help"], OF_A_CLIENT),
        (["compare", "--help"], OF_A_CLIENT),
        (["dataset", "list", "--help"], OF_A_CLIENT | {"numpy"}),
        (["train", "--help"], OF_A_CLIENT | {"numpy"}),
        (["finetune", "--help"], OF_A_CLIENT | {"numpy"}),
    ],
)
def test_a_command_imports_what_it_needs_alone(arguments, allowed):
    code = (
        "import atexit, sys; sys.modules['fcntl'] = None; "  # Windows has none
        f"atexit.register(lambda: print('imported', set({HEAVY}) & set(sys.modules)))\n"
        f"sys.argv = ['elasticnas', *{arguments}]\n"
        "from elasticnas.cli.main import run\nrun()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    last = found.stdout.splitlines()[-1]
    assert last.startswith("imported "), found.stderr
    assert eval(last.removeprefix("imported ")) <= allowed


def test_a_search_is_followed_to_its_end(search):
    assert search["state"] == "completed"
    assert search["progress"]["completed"] == 30
    assert search["strategy"]["population_size"] == 10
    assert search["seed"] == 5


def test_the_front_is_printed_as_table_csv_json_and_picture(server, search, tmp_path: Path):
    shown = elasticnas("front", search["id"], server=server)
    assert shown.returncode == 0
    assert "Pareto front" in shown.stdout
    as_json = elasticnas("front", search["id"], "--json", server=server)
    front = json.loads(as_json.stdout)["items"]
    as_csv = elasticnas("front", search["id"], "--csv", server=server)
    assert len(as_csv.stdout.splitlines()) == len(front) + 1
    picture = tmp_path / "front.png"
    assert elasticnas("front", search["id"], "--png", picture, server=server).returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


def test_weights_are_unpacked_into_a_folder(server, search, tmp_path: Path):
    target = tmp_path / "subnet"
    found = elasticnas("weights", search["id"], 0, "--output", target, server=server)
    assert found.returncode == 0, found.stderr
    assert {"config.json", "model.safetensors", "README.md"} <= {p.name for p in target.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["subnet"]
    again = elasticnas("weights", search["id"], 0, "--output", target, server=server)
    assert again.returncode == 2


def test_a_base_install_does_all_that_a_client_does(server, search, ids, tmp_path: Path):
    base = Fresh(tmp_path / "venv", build_wheel(tmp_path / "wheel"))
    address = f"http://127.0.0.1:{server.port}"
    for command, expected in (
        (("search", "list"), search["id"]),
        (("supernet", "list"), ids[0]),
        (("dataset", "list"), ids[1]),
        (("search", "events", search["id"]), "state completed"),
        (("front", search["id"]), "Pareto front"),
        (("weights", search["id"], 0, "--output", "subnet"), "subnet"),
    ):
        done = base.run("elasticnas", *command, cwd=tmp_path, ELASTICNAS_SERVER=address)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert (tmp_path / "subnet" / "config.json").is_file()


@pytest.mark.usefixtures("search")
def test_the_example_of_the_python_client_runs_as_documented(server):
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/client.md").read_text(), re.M | re.S
    )
    code = example.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{server.port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("state ") and "completed" in line]
    assert "'accuracy'" in lines[-2]
    assert lines[-1].startswith("404 ")


def test_the_subnet_within_a_bound_or_at_the_knee_is_picked(server, search, tmp_path: Path):
    front = json.loads(elasticnas("front", search["id"], "--json", server=server).stdout)
    middle = front["items"][len(front["items"]) // 2]
    bound = ("--max-gflops", middle["cost"]["gflops"])
    for how, expected in ((bound, middle["number"]), (("--knee",), front["knee"])):
        target = tmp_path / how[0]
        found = elasticnas("weights", search["id"], *how, "--output", target, server=server)
        assert found.returncode == 0, found.stderr
        assert f"subnet {expected}" in found.stderr
        assert (target / "model.safetensors").is_file()
    by_name = ("--max", f"gflops={bound[1]}", "--min", "accuracy=0")
    for each in (bound, by_name):
        within = elasticnas("front", search["id"], *each, "--json", server=server)
        assert json.loads(within.stdout)["best"] == middle["number"]


def test_every_plot_is_written_where_it_is_asked_for(server, search, tmp_path: Path):
    for kind in ("front", "history", "importance", "widths"):
        target = tmp_path / f"{kind}.svg"
        found = elasticnas(
            *("plot", search["id"], "--kind", kind, "--output", target), server=server
        )
        assert found.returncode == 0, found.stderr
        assert "</svg>" in target.read_text()
    assert elasticnas("plot", search["id"], server=server, cwd=tmp_path).stdout == "front.png\n"
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_lists_show_what_is_there(server, ids, search):
    registered = {"supernet": ids[0], "dataset": ids[1], "search": search["id"]}
    for command, identifier in registered.items():
        assert identifier in elasticnas(command, "list", server=server).stdout
        listed = json.loads(elasticnas(command, "list", "--json", server=server).stdout)
        assert identifier in [item["id"] for item in listed]
    space = elasticnas("supernet", "space", ids[0], server=server).stdout
    assert "layer.0.attention.heads" in space
    cost = elasticnas(
        *("supernet", "cost", ids[0], "--subnet", '{"layer.0.ffn.width": 8}', "--json"),
        server=server,
    )
    assert json.loads(cost.stdout)["gflops"] > 0
    lines = elasticnas("search", "evaluations", search["id"], server=server).stdout.splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(30))


def test_events_are_one_line_each_and_json_on_demand(server, search):
    followed = elasticnas(
        *("search", "events", search["id"], "--after", 0, "--json"), server=server
    )
    assert followed.returncode == 0, followed.stderr
    events = [json.loads(line) for line in followed.stdout.splitlines()]
    assert [e["id"] for e in events if e["id"]] == list(range(1, len(events)))
    assert events[-1]["event"] == "state"
    assert events[-1]["data"]["state"] == "completed"
    lines = elasticnas("search", "events", search["id"], server=server).stdout.splitlines()
    assert lines[0].startswith("progress 30/30 completed")
    assert lines[1:] == ["state completed (evaluation_budget_spent)"]


def test_a_search_is_paused_resumed_extended_and_cancelled(server, ids):
    started = elasticnas(
        *("search", "--supernet", ids[0], "--dataset", ids[1], "--evaluations", 3000, "--detach"),
        *("--weight", 2, "--plateau", "2000:0.0001", "--max-failures", 7, "--racing", 0.8),
        "--json",
        server=server,
    )
    assert started.returncode == 0, started.stderr
    search = json.loads(started.stdout)
    assert search["weight"] == 2.0
    assert search["plateau"] == {"evaluations": 2000, "min_gain": 0.0001}
    assert search["racing"] == {"confidence": 0.8}
    assert search["max_failures"] == 7
    for command, answer in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        found = elasticnas("search", command, search["id"], server=server)
        assert (found.returncode, found.stdout.strip()) == (0, answer), found.stderr
    illegal = elasticnas("search", "resume", search["id"], server=server)
    assert illegal.returncode == 2
    assert "cancelled" in illegal.stderr
    more = elasticnas(
        *("search", "extend", search["id"], "--evaluations", 5, "--json"), server=server
    )
    assert json.loads(more.stdout)["budget"]["evaluations"] == 3005
    assert elasticnas("search", "retry", search["id"], server=server).returncode == 2
    elasticnas("search", "cancel", search["id"], server=server)


ANY = ("search", "--supernet", "a", "--dataset", "b")
SHEARS = ("train", "--base", "tests", "--method", "shears", "--dataset", "b")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["supernet", "show", "nose"], 2, "nose"),
        (["search", "--supernet", "nose", "--dataset", "nose"], 2, "supernet_id"),
        (["search", "--dataset", "nose"], 2, "--supernet"),
        ([*ANY, "--constraint", "gflops<9"], 2, "gflops<9"),
        ([*ANY, "--plateau", "many"], 2, "100:0.001"),
        ([*ANY, "--racing", "2"], 2, "racing/confidence"),
        (["search", "events", "nose"], 2, "nose"),
        (["search", "pause", "nose"], 2, "nose"),
        ([*ANY, "--set", "mutation"], 2, "NAME=VALUE"),
        ([*ANY, "--evaluations", "many"], 2, "--evaluations"),
        ([*ANY, "--evaluation", "3"], 2, "--evaluations"),
        (["searhc"], 2, "search"),
        ([*ANY, "--strategy", "nsga2", "--set", "popsize=3"], 2, "population_size"),
        ([*ANY, "--strategy", "magic"], 2, "nsga2"),
        (["weights", "nose", "1"], 2, "nose"),
        (["job", "watch", "nose"], 2, "nose"),
        (["job", "list", "--state", "lost"], 2, "cancelled"),
        (["train", "--base", "tests", "--dataset", "nose"], 2, "nothing of a model"),
        (["train", "--base", "tests"], 2, "--dataset ID"),
        (["train", "--base", "tests", "--output", "out"], 2, "--output"),
        (["train", "--base", "tests", "--learning-rate", "0"], 2, "--learning-rate"),
        ([*SHEARS, "--set", "sparsity=3:2"], 2, "--sparsity"),
        ([*SHEARS, "--set", "sparsity=[0.5,1.5]"], 2, "--sparsity"),
        ([*SHEARS, "--set", "ranks=[8,4]"], 2, "ranks must begin with it"),
        ([*SHEARS, "--set", "nose=1"], 2, "--nose"),
        ([*SHEARS, "--set", "nose"], 2, "NAME=VALUE"),
        (["dataset", "add"], 2, "name a file of rows, or a task of lm-eval"),
        (["dataset", "add", "Makefile", "--limit", "3"], 2, "--limit: this goes with --lm-eval"),
        (["dataset", "add", "Makefile", "--lm-eval", "a"], 2, "leave out the file"),
        (["dataset", "add", "--lm-eval", "a", "--task", "generation"], 2, "leave out the file"),
    ],
)
def test_bad_input_is_one_line_on_standard_error_and_exit_code_2(server, arguments, code, message):
    found = elasticnas(*arguments, server=server)
    assert found.returncode == code, found.stderr
    assert found.stdout == ""
    assert message in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights"], "--knee"),
        (["weights", "--max-gflops", 1e-9], "the closest is subnet"),
        (["weights", "--max", "trainable_params=-1"], "--max-trainable-params: no subnet"),
        (["front", "--min", "accuracy"], "'perplexity=12'"),
        (["front", "--min", "charm=2"], "min_charm"),
        (["front", "--max", "accuracy=0.5"], "max_accuracy"),
        (["weights", 1, "--knee"], "a number already says which subnet"),
        (["plot", "--output", "front.pie"], ".png or .svg"),
        (["plot", "--output", "nowhere/front.png"], "nowhere"),
        (["plot", "--kind", "pie"], "importance"),
    ],
)
def test_what_cannot_be_picked_or_drawn_is_said_in_one_line(
    server, search, arguments, message, tmp_path: Path
):
    command, *rest = arguments
    found = elasticnas(command, search["id"], *rest, server=server, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert message in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_checkpoint_is_refused_with_the_servers_reason(server, tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    text = (checkpoint / "search_space.json").read_text().replace("[40, 24, 7]", "[80, 24, 7]")
    (checkpoint / "search_space.json").write_text(text)
    found = elasticnas("supernet", "add", checkpoint, server=server)
    assert found.returncode == 2
    assert "layer.0.ffn.width" in found.stderr


def test_a_server_that_is_not_there_is_exit_code_1_and_how_to_start_one():
    found = elasticnas("supernet", "list", "--server", f"http://127.0.0.1:{free_port()}")
    assert found.returncode == 1
    assert "elasticnas serve" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


def test_train_writes_what_supernet_add_takes(server, tmp_path: Path):
    from tests.supernet.tiny import tiny_model

    tiny_model("distilbert").save_pretrained(tmp_path / "encoder")
    write_tokenizer(tmp_path / "encoder")
    rows = write_rows(tmp_path / "rows.jsonl")
    trained = elasticnas(
        *("train", "--base", tmp_path / "encoder", "--data", rows, "--text-columns", "sentence"),
        *("--output", tmp_path / "out", "--steps", 3, "--max-length", 16, "--lora-rank", 4),
        *("--device", "cpu", "--sampling", "alternate", "--no-dropout", "--group-by-length"),
    )
    assert trained.returncode == 0, trained.stderr
    added = elasticnas("supernet", "add", tmp_path / "out", "--json", server=server)
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["model_type"] == "distilbert"
    again = elasticnas(
        *("train", "--base", tmp_path / "encoder", "--data", rows, "--text-columns", "sentence"),
        *("--output", tmp_path / "out", "--steps", 3),
    )
    assert again.returncode == 2
    assert "resume" in again.stderr


def test_a_fine_tuned_model_becomes_a_super_network(tmp_path: Path):
    from tests.supernet.tiny import tiny_model

    tiny_model("distilbert").save_pretrained(tmp_path / "model")
    write_tokenizer(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl")
    derived = elasticnas(
        *("supernet", "derive", "--base", tmp_path / "model", "--data", rows),
        *("--output", tmp_path / "out", "--text-columns", "sentence", "--max-length", 16),
        *("--device", "cpu", "--set", "dropped_blocks=1", "--set", "importance=taylor"),
    )
    assert derived.returncode == 0, derived.stderr
    supernet = read_supernet(tmp_path / "out")
    assert supernet.reference_length == 16
    assert supernet.space.dimensions[-1].choices[0] == ()
    odd = elasticnas(
        *("supernet", "derive", "--base", tmp_path / "model", "--data", rows),
        *("--output", tmp_path / "other", "--set", "lora_rank=4"),
    )
    assert odd.returncode == 2
    assert "lora-rank" in odd.stderr
    alone = elasticnas(
        *("supernet", "derive", "--base", tmp_path / "model", "--data", rows),
        *("--output", tmp_path / "other", "--validation", rows),
    )
    assert alone.returncode == 2
    assert "--validation" in alone.stderr
    assert not (tmp_path / "other").exists()


def test_train_makes_a_language_model_sparse_and_trains_ranks(tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    rows = tmp_path / "rows.jsonl"
    questions = [{"text": "w5 w6", "choices": ["w7", "w8 w9"], "label": n % 2} for n in range(8)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in questions))
    trained = elasticnas(
        *("train", "--recipe", "shears", "--base", base, "--data", rows, "--output", "out"),
        *("--task", "multiple-choice", "--choices-column", "choices", "--steps", 2),
        *("--task-settings", '{"prompt": "Q: {text}\\nA:"}', "--set", "sparsity=2:4"),
        *("--lora-rank", 4, "--set", "ranks=[4,1]"),
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert {"zeros", "loss"} <= set(trained.stderr.split())
    supernet = read_supernet(tmp_path / "out")
    assert {each.choices for each in supernet.space.dimensions} == {(4, 1)}
    weight = supernet.tensors["model.layers.0.mlp.down_proj.weight"]
    assert ((weight.view(-1, 4) == 0).sum(dim=1) == 2).all()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The options of a small training."""
    from tests.supernet.tiny import tiny_model

    folder = tmp_path_factory.mktemp("training")
    tiny_model("distilbert").save_pretrained(folder / "encoder")
    write_tokenizer(folder / "encoder")
    rows = write_rows(folder / "rows.jsonl")
    return (
        *("--base", folder / "encoder", "--data", rows, "--text-columns", "sentence"),
        *("--max-length", 16, "--lora-rank", 4, "--name", "trained"),
    )


def test_a_training_on_a_server_is_watched_to_its_end(server, training):
    trained = elasticnas("train", *training, "--steps", 3, "--json", server=server)
    assert trained.returncode == 0, trained.stderr
    job = json.loads(trained.stdout)
    assert "state completed train completed" in trained.stderr
    made = json.loads(elasticnas("supernet", "list", "--json", server=server).stdout)[0]
    assert (made["id"], made["name"]) == (job["supernet_id"], "trained")
    watched = elasticnas("job", "watch", job["id"], server=server)
    assert (watched.returncode, watched.stdout) == (0, f"super-network {made['id']}\n")
    assert made["id"] in elasticnas("job", "list", server=server).stdout
    events = elasticnas("job", "events", job["id"], "--after", 0, server=server).stdout
    assert "scalars train 3 loss=" in events
    assert json.loads(elasticnas("job", "show", job["id"], server=server).stdout) == job


def test_a_job_outlives_its_watcher_and_its_exit_code_says_that_it_was_cancelled(server, training):
    started = elasticnas("train", *training, "--steps", 10**6, "--detach", server=server)
    assert started.returncode == 0, started.stderr
    job = started.stdout.strip()
    command = [sys.executable, "-m", "elasticnas.cli.main", "job", "watch", job, "--server"]
    watching = subprocess.Popen(
        [*command, f"http://127.0.0.1:{server.port}"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    assert watching.stderr.readline().startswith(f"job {job} is ")
    watching.send_signal(signal.SIGINT)
    said = watching.communicate()[1]
    assert watching.returncode == 130
    assert f"'elasticnas job watch {job}' watches it again" in said
    assert elasticnas("job", "cancel", job, server=server).stdout == "cancelled\n"
    ended = elasticnas("job", "watch", job, server=server)
    assert ended.returncode == 3
    assert f"elasticnas job retry {job}" in ended.stderr
    again = elasticnas("job", "retry", job, "--json", server=server)
    assert json.loads(again.stdout)["state"] == "queued"
    elasticnas("job", "cancel", job, server=server)
    assert elasticnas("job", "delete", job, server=server).returncode == 0
    assert elasticnas("job", "show", job, server=server).returncode == 2


def test_settings_name_their_environment_variables():
    found = json.loads(apart("settings", "--json").stdout)
    assert "ELASTICNAS_MAX_UPLOAD_BYTES" in found
    worker = json.loads(apart("settings", "--worker", "--json").stdout)
    assert "ELASTICNAS_BLOBS_URL" in worker
    assert "ELASTICNAS_DATABASE_URL" not in worker
    assert "ELASTICNAS_WORKER_TOKEN_BUDGET" in worker
