"""deploy/systemd: the unit is hardened, and what it starts talks to systemd as it says."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from exporter.cli.flags import parse_flags
from tests.builders import PROD, add_users
from tests.fake_aws import FakeAws
from tests.servers import Exporter, exporter, find, free_port, get, wait_until
from tests.test_systemd import ACTIVATE, manager

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "systemd"
NAME: Final = "aws-iam-key-exporter"
PROGRAM: Final = f"/opt/{NAME}/bin/{NAME}"
CONFIGURATION: Final = f"/etc/{NAME}/config.yaml"
LISTEN: Final = "AWS_IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS"

EXPOSURE: Final = 11
"""Tenths of systemd-analyze's score, which goes from 0 to 100: what is left are IP sockets."""


def settings(*files: str) -> dict[str, list[str]]:
    """Return the values of each setting, in the order of *files*: a unit and its drop-ins."""
    found: dict[str, list[str]] = {}
    for file in files:
        for name, value in re.findall(r"(?m)^(\w+)=(.*)$", (FOLDER / file).read_text()):
            found.setdefault(name, []).append(value)
    return found


def setting(name: str, *files: str) -> str:
    (value,) = settings(*(files or (f"{NAME}.service",)))[name]
    return value


@pytest.mark.process
@pytest.mark.parametrize("drop_in", [None, "socket.conf", "credentials.conf"])
def test_systemd_accepts_it(drop_in: str | None, tmp_path: Path) -> None:
    """systemd-analyze reports nothing about the unit and the socket, with each drop-in."""
    for name in (f"{NAME}.service", f"{NAME}.socket"):
        text = (FOLDER / name).read_text().replace(PROGRAM, sys.executable)
        (tmp_path / name).write_text(text)
    if drop_in is not None:
        folder = tmp_path / f"{NAME}.service.d"
        folder.mkdir()
        (folder / drop_in).write_text((FOLDER / drop_in).read_text())
    verify = [find("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no"]
    units = [str(tmp_path / f"{NAME}.{kind}") for kind in ("service", "socket")]

    # Without --recursive-errors=no, other units of this machine would be reported too.
    result = subprocess.run(
        [*verify, *units], check=False, capture_output=True, text=True, timeout=60
    )

    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.process
def test_it_is_hardened() -> None:
    """The exposure is as low as it can be for a program that uses the network."""
    analyze = [find("systemd-analyze"), "security", "--offline=true"]
    service = str(FOLDER / f"{NAME}.service")
    limit = f"--threshold={EXPOSURE}"
    result = subprocess.run(
        [*analyze, limit, "--json=short", service], check=False, capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout + result.stderr
    exposed = {row["json_field"] for row in json.loads(result.stdout) if row["exposure"]}
    # Of each of these, systemd-analyze would like less than the exporter needs.
    assert exposed <= {
        "RootDirectoryOrRootImage",
        "RestrictAddressFamilies_AF_INET_INET6",
        "RestrictAddressFamilies_AF_UNIX",
        "ProcSubset",
        "PrivateNetwork",
        "DeviceAllow",
        "IPAddressDeny",
    }


@pytest.mark.process
def test_the_user_can_be_created(tmp_path: Path) -> None:
    """systemd-sysusers creates the user that the unit runs as."""
    (tmp_path / "etc").mkdir()
    command = [find("systemd-sysusers"), f"--root={tmp_path}", str(FOLDER / "sysusers.conf")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    users = [line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert users == [setting("User")] == [setting("Group")]


@pytest.mark.process
def test_the_configuration_is_protected(tmp_path: Path) -> None:
    """systemd-tmpfiles lets the exporter read its configuration, and only root its secrets."""
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of files")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\n{NAME}:x:995:996::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text(f"root:x:0:\n{NAME}:x:996:\n")
    folder = tmp_path / "etc" / NAME
    folder.mkdir(mode=0o777)
    names = "config.yaml", "aws-config", "environment", "aws-credentials", "web.yaml", "web.key"
    for name in names:
        (folder / name).touch(0o666)
    command = [find("systemd-tmpfiles"), f"--root={tmp_path}", "--create"]
    subprocess.run([*command, str(FOLDER / "tmpfiles.conf")], check=True, timeout=60)

    found = {}
    for path in (folder, *folder.iterdir()):
        status = path.stat()
        found[path.name] = (oct(status.st_mode & 0o777), status.st_uid, status.st_gid)
    readable, secret = ("0o640", 0, 996), ("0o600", 0, 0)
    assert found == {
        NAME: ("0o750", 0, 996),
        **dict.fromkeys(names[:2], readable),
        **dict.fromkeys(names[2:], secret),
    }


def test_every_secret_that_systemd_passes_on_is_protected() -> None:
    """tmpfiles.conf protects each file with secrets that the unit or a drop-in names."""
    found = settings(f"{NAME}.service", "credentials.conf")
    loaded = [value.partition(":")[2] for value in found["LoadCredential"]]
    secrets = {path for path in loaded if not path.endswith(".crt")}
    secrets |= {value.removeprefix("-") for value in found["EnvironmentFile"]}
    text = (FOLDER / "tmpfiles.conf").read_text()

    assert secrets == set(re.findall(r"(?m)^z (\S+) 0600 root root -$", text))


def test_the_socket_listens_on_the_default_port() -> None:
    """With the socket, the exporter listens where it does without it."""
    assert [f":{setting('ListenStream', f'{NAME}.socket')}"] == list(
        parse_flags([], {}).web_listen_address
    )


def variables(*files: str, credentials: Path | None = None) -> dict[str, str]:
    """Return the variables that the units set."""
    values = [value.replace("%d", str(credentials)) for value in settings(*files)["Environment"]]
    return dict(value.split("=", 1) for value in values)


def test_flags_in_variables_exist() -> None:
    """The variables of the drop-ins are those of flags."""
    environment = variables("socket.conf", "credentials.conf", credentials=Path("/run/x"))
    flags = parse_flags([], environment)

    assert flags.serve.systemd_socket
    assert flags.web_config_file == "/run/x/web.yaml"


def command_line(setting_: str, configuration: Path) -> list[str]:
    """Return the command line that starts the exporter, with its own paths and configuration."""
    line = setting_.replace(PROGRAM, str(Path(sys.executable).parent / NAME))
    return shlex.split(line.replace(CONFIGURATION, str(configuration)))


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("accounts: [{name: prod}]\n")
    return path


@contextmanager
def service(
    configuration: Path, environment: dict[str, str], *files: str, inherit: socket.socket | None
) -> Iterator[tuple[Exporter, socket.socket]]:
    """
    Run ExecStart against the simulated AWS, as the unit and the drop-ins *files* say.

    Args:
        inherit: The socket that systemd listens on.

    Yields:
        The exporter, and the socket at which its notifications arrive.
    """
    folder = configuration.parent
    notify, state = str(folder / "notify"), folder / "state"
    state.mkdir()
    unit = f"{NAME}.service"
    set_by_systemd = {"NOTIFY_SOCKET": notify, "STATE_DIRECTORY": str(state)}
    descriptors: tuple[int, ...] = () if inherit is None else (inherit.fileno(),)
    activate = [sys.executable, "-c", ACTIVATE, *map(str, descriptors)] if descriptors else []
    with (
        FakeAws() as aws,
        manager(notify) as notified,
    ):
        add_users(aws.account(PROD), 3, keys=3)
        everything = {**variables(unit, *files), **aws.environment(PROD), **set_by_systemd}
        program = command_line(setting("ExecStart"), configuration)
        with exporter(
            environment={**everything, **environment},
            wrapper=activate,
            inherit=descriptors,
            program=program,
            listen=None,
        ) as running:
            yield running, notified


@pytest.mark.slow
@pytest.mark.process
def test_it_is_ready_once_it_listens(configuration: Path) -> None:
    """READY=1 is sent after it listens, STOPPING=1 after SIGTERM, and the state is kept."""
    port = free_port()
    listen = {LISTEN: f"127.0.0.1:{port}"}
    with service(configuration, listen, inherit=None) as (running, notified):
        assert notified.recv(100) == b"READY=1"
        assert get(f"http://127.0.0.1:{port}/-/healthy") == "Healthy\n"
        running.wait_until_ready()
        assert running.get("/metrics").count("\naws_iam_access_key_active{") == 3
        running.process.send_signal(signal.SIGTERM)
        assert notified.recv(100) == b"STOPPING=1"
        assert running.process.wait(20) == 0

    assert (configuration.parent / "state" / "state.db").exists()


@pytest.mark.slow
@pytest.mark.process
def test_it_serves_on_the_socket_of_systemd(configuration: Path) -> None:
    """With socket.conf, it serves on the socket that systemd listens on, and on no other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with service(configuration, {}, "socket.conf", inherit=listener) as (running, notified):
            assert notified.recv(100) == b"READY=1"
            assert get(f"http://127.0.0.1:{port}/-/healthy") == "Healthy\n"
            assert running.address == f"127.0.0.1:{port}"
            assert running.log.count("msg=listening") == 1
            assert running.end()[0] == 0


@pytest.mark.slow
@pytest.mark.process
def test_a_reload_with_an_invalid_configuration_fails(configuration: Path) -> None:
    """ExecReload sends SIGHUP to the exporter only if its configuration is valid."""
    check, hang_up = settings(f"{NAME}.service")["ExecReload"]
    command = command_line(check, configuration)
    listen = {LISTEN: "127.0.0.1:0"}
    with service(configuration, listen, inherit=None) as (running, _):
        running.wait_until_ready()
        configuration.write_text("accounts: [{name: prod}]\nbad: x\n")
        invalid = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        configuration.write_text("accounts: [{name: production}]\n")
        valid = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        hang_up = hang_up.replace("$MAINPID", str(running.process.pid))
        subprocess.run(shlex.split(hang_up), check=True)
        wait_until(lambda: "configuration reloaded" in running.log, "it is reloaded")

    assert (invalid.returncode, invalid.stdout) == (2, "")
    assert "bad: unknown option" in invalid.stderr
    assert (valid.returncode, valid.stdout, valid.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.process
def test_an_invalid_configuration_is_not_tried_again(configuration: Path) -> None:
    """The exit code of an invalid configuration is the one after which systemd does not restart."""
    configuration.write_text("bad: x\n")
    command = command_line(setting("ExecStart"), configuration)
    ended = subprocess.run(command, check=False, capture_output=True, timeout=60)

    assert str(ended.returncode) == setting("RestartPreventExitStatus")
