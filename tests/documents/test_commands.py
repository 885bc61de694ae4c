"""Every command of the documents is run, or checked, or there is a reason why it is not."""

import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import get_session

from exporter.key_ids import KeyIdFormatter
from exporter.model import KeyIdFormat
from tests.documents.markdown import ROOT, Block, Command, commands, commands_of
from tests.documents.scene import SECRET, Scene, a_scene
from tests.documents.treatment import (
    TREATMENTS,
    CallsAws,
    Cannot,
    Makes,
    Runs,
    Serves,
    Treatment,
    treatment_of,
)
from tests.servers import exporter, find, free_port, get, wait_until

COMMANDS = commands()
SECONDS = 300.0
"""Within which commands must do what they do."""


def treated(*kinds: type[Treatment]) -> list[Command]:
    """Return the commands that are treated in one of these ways, each text and output once."""
    found: dict[tuple[str, str], Command] = {}
    for each in COMMANDS:
        if isinstance(treatment_of(each), kinds):
            found.setdefault((each.text, each.output), each)
    return list(found.values())


def places(found: list[Command]) -> list[str]:
    return [each.place for each in found]


def test_every_command_is_treated() -> None:
    """For each command it is known whether it can run here; add a new one to TREATMENTS."""
    assert [f"{each.place}: {each.text}" for each in COMMANDS if treatment_of(each) is None] == []


def test_every_treatment_is_needed() -> None:
    """Each row of TREATMENTS treats a command, which no earlier row does."""
    used = {id(treatment_of(each)) for each in COMMANDS}

    assert [pattern for pattern, treatment in TREATMENTS if id(treatment) not in used] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n# b\n\nc  # d", ["a", "c  # d"]),
        ("a \\\n  b\nc", ["a \\\n  b", "c"]),
        ("cat > x <<'EOF'\na\nEOF\nb", ["cat > x <<'EOF'\na\nEOF", "b"]),
        ("a 'b\nc'\nd", ["a 'b\nc'", "d"]),
    ],
)
def test_commands_are_found(text: str, expected: list[str]) -> None:
    """A command ends with its line, unless the shell would read on; comments are none."""
    assert [each.text for each in commands_of(Block("x.md", 1, "sh", text))] == expected


def test_the_output_of_a_command_is_found() -> None:
    """In a console block, what follows a command is its output."""
    found = list(commands_of(Block("x.md", 7, "console", "$ a\n1\n2\n$ b")))

    assert found == [Command("x.md", 7, "a", "1\n2"), Command("x.md", 10, "b")]


@pytest.mark.process
def test_the_shell_can_parse_every_command() -> None:
    """bash has no objection to the syntax of any command."""
    script = "\n".join(each.text for each in COMMANDS)

    run = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")


# -- commands that run -------------------------------------------------------------------------


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """Run an Alertmanager that notifies nobody; its address."""
    address = f"127.0.0.1:{free_port()}"
    file = folder / "alertmanager.yml"
    file.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    process = subprocess.Popen(
        [
            find("prometheus-alertmanager"),
            f"--config.file={file}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]
    )
    try:
        wait_until(lambda: get(f"http://{address}/-/ready"), "Alertmanager is ready")
        yield address
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def needed(directory: Path, texts: list[str]) -> Iterator[Scene]:
    """A scene, with the servers that the commands *texts* ask."""
    text = "\n".join(texts)
    asked = directory / "servers"
    asked.mkdir()
    silences = alertmanager(asked) if "amtool silence" in text else _nothing()
    with silences as alerts, a_scene(directory / "copy", alertmanager=alerts) as scene:
        if ":10064" not in text:
            yield scene
            return
        flags = (f"--config.file={scene.directory / 'config.yaml'}", "--total-shards=1")
        state = f"--state.path={asked / 'state.db'}"
        with exporter(*flags, state, environment=scene.environment) as running:
            running.wait_until_ready()
            yield scene.asking(running.address)


@contextmanager
def _nothing() -> Iterator[str]:
    yield ""


def folder_of(command: Command) -> str:
    return str(Path(command.document).parent)


RUNNING = treated(Runs)


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted({folder_of(each) for each in RUNNING}))
def test_commands_succeed(folder: str, tmp_path: Path) -> None:
    """
    The commands in this directory's documents that can run here succeed, in order, in one shell.

    What a document shows as the output is what they print, whatever the times in it.
    """
    chosen = [each for each in RUNNING if folder_of(each) == folder]
    for each in chosen:
        treatment = treatment_of(each)
        assert isinstance(treatment, Runs)
        if treatment.program:
            find(treatment.program)
    outputs = {each: tmp_path / f"{number}.txt" for number, each in enumerate(chosen)}
    with needed(tmp_path, [each.text for each in chosen]) as scene:
        run = subprocess.run(
            ["bash", "-o", "pipefail", "-c", "\n".join(script(scene, outputs))],
            env=dict(scene.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    assert run.returncode == 0, run.stderr
    for each, file in outputs.items():
        if each.output:
            assert _without_times(file.read_text()) == _without_times(each.output)


def script(scene: Scene, outputs: Mapping[Command, Path]) -> Iterator[str]:
    """Yield a script that runs commands until one fails, given the files for their outputs."""
    yield '_ended() { [ "$2" = 0 ] || { echo "$1: exit code $2" >&2; exit 1; }; }'
    document = ""
    for each, file in outputs.items():
        if each.document != document:  # whatever the one before has done
            document = each.document
            yield f"cd {shlex.quote(str(scene.directory_of(document)))}"
            yield "cp original.yaml config.yaml"
        yield f"{{ {scene.text(each.text)}\n}} > {shlex.quote(str(file))}"
        yield f"_ended {each.place} $?"


def _without_times(text: str) -> list[str]:
    lines = re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "TIME", text).strip().splitlines()
    return [line.rstrip() for line in lines]


SERVING = treated(Serves)


@pytest.mark.slow
@pytest.mark.parametrize("command", SERVING, ids=places(SERVING))
def test_commands_serve(command: Command, tmp_path: Path) -> None:
    """The command serves until SIGTERM, which ends it with the exit code 0."""
    treatment = treatment_of(command)
    assert isinstance(treatment, Serves)
    if treatment.program:
        find(treatment.program)
    with needed(tmp_path, []) as scene:
        process = subprocess.Popen(
            [*shlex.split(scene.text(command.text), comments=True), *treatment.more],
            cwd=scene.directory_of(command.document),
            env=dict(scene.environment),
            stderr=subprocess.PIPE,
            text=True,
        )
        lines: list[str] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            wait_until(
                lambda: any(treatment.ready in line for line in [*lines]) or process.poll(),
                treatment.ready,
                SECONDS,
            )
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
        finally:
            process.kill()
            reader.join(10)
            process.stderr.close()

    assert (code, treatment.ready in "".join(lines)) == (0, True), "".join(lines)


@pytest.mark.process
def test_the_command_that_hashes_a_key_id_is_right() -> None:
    """The README's command for the hash of a key ID prints what the exporter shows."""
    find("openssl")
    (command,) = (each for each in COMMANDS if each.text.startswith("printf %s AKIA..."))
    key_id = "AKIAIOSFODNN7EXAMPLE"

    run = subprocess.run(
        ["bash", "-c", command.text.replace("AKIA...", key_id)],
        env={"PATH": "/usr/bin:/bin", "KEY_ID_SECRET": SECRET},
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.strip() == KeyIdFormatter(KeyIdFormat.HASHED, SECRET).label(key_id)


# -- commands that are checked -----------------------------------------------------------------


def aws_calls(text: str) -> Iterator[list[str]]:
    """Yield the words of each call of the AWS CLI in *text*."""
    for part in re.split(r"[|;]|&&", text.replace("\\\n", " ")):
        words = shlex.split(part, comments=True)
        if words[:1] == ["aws"]:
            yield words[1:]


def _options(parameters: Iterable[str]) -> Iterator[str]:
    return (f"--{xform_name(name, '-')}" for name in parameters)


CALLS = treated(CallsAws)
GLOBAL = {"--region", "--query", "--output", "--max-items", "--profile"}
"""Options of every command of the AWS CLI."""


@pytest.mark.parametrize("command", CALLS, ids=places(CALLS))
def test_calls_of_aws_are_valid(command: Command) -> None:
    """AWS has the operation, with these parameters, and all that it requires are there."""
    session = get_session()
    for service, name, *rest in aws_calls(command.text.replace("$(", "'").replace('")', "'")):
        model = session.get_service_model(service)
        operations = {xform_name(each, "-"): each for each in model.operation_names}
        assert name in operations, name
        shape = model.operation_model(operations[name]).input_shape
        known = {f"--{xform_name(each, '-')}" for each in shape.members} if shape else set()
        required = (
            {f"--{xform_name(each, '-')}" for each in shape.required_members} if shape else {}
        )
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= known | GLOBAL
        assert set(required) <= given


MAKING = treated(Makes)


@pytest.mark.parametrize("command", MAKING, ids=places(MAKING))
def test_targets_exist(command: Command) -> None:
    """The Makefile has the target."""
    words = takewhile(lambda word: word != "#", shlex.split(command.text)[1:])
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert {word for word in words if "=" not in word} <= set(targets)


def test_what_cannot_run_has_a_reason() -> None:
    """The reason why a command is not run is a sentence."""
    reasons = [each.reason for _, each in TREATMENTS if isinstance(each, Cannot)]

    assert all(len(reason.split()) >= 3 for reason in reasons)


NOT_RUNNING = treated(Cannot)


@pytest.mark.parametrize("command", NOT_RUNNING, ids=places(NOT_RUNNING))
def test_what_cannot_run_names_files_that_exist(command: Command) -> None:
    """The files of the repository that the command names exist."""
    named = re.findall(r"(?<![\w/.])(?:deploy|grafana|tests|\.ci)/[\w./-]*", command.text)

    assert [path for path in named if not (ROOT / path.partition("::")[0]).exists()] == []
