"""deploy/systemd: what the unit starts and reloads talks to systemd as the unit says."""

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

from tests.builders import PROD, add_users
from tests.deploy.units import CONFIGURATION, NAME, PROGRAM, setting, settings, variables
from tests.fake_aws import FakeAws
from tests.servers import Exporter, exporter, free_port, get, wait_until
from tests.test_systemd import ACTIVATE, manager

LISTEN: Final = "AWS_IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS"


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
