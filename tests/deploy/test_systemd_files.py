"""deploy/systemd: systemd accepts the files, the unit is hardened, and its README is right."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from exporter.cli.flags import parse_flags
from tests.deploy.units import FOLDER, NAME, PROGRAM, README, ROOT, setting, settings, variables
from tests.servers import find

EXPOSURE: Final = 11
"""Tenths of systemd-analyze's score, which goes from 0 to 100: what is left are IP sockets."""


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


@pytest.mark.process
def test_the_documented_commands_install_it(tmp_path: Path) -> None:
    """The README's commands, run for another root directory, put each file into its place."""
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of files")
    find("systemd-sysusers")
    find("systemd-tmpfiles")
    (block,) = re.findall(r"(?ms)^```sh\n(install [^`]*)^```$", README)[:1]
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    commands = block.replace(" /etc/", f" {tmp_path}/etc/")
    commands = re.sub(r"(?m)^(systemd-\w+)", rf"\1 --root={tmp_path}", commands)
    result = subprocess.run(
        ["bash", "-euc", commands], check=False, cwd=ROOT, capture_output=True, text=True
    )

    assert result.returncode == 0, result.stderr
    configuration = tmp_path / "etc" / NAME / "config.yaml"
    assert configuration.read_text() == (ROOT / "config.example.yaml").read_text()
    assert oct(configuration.stat().st_mode & 0o777) == "0o640"
    assert NAME in (tmp_path / "etc/passwd").read_text()
    assert (tmp_path / f"etc/systemd/system/{NAME}.service").exists()


def test_each_file_is_documented() -> None:
    """The README's table lists each file, and where it is installed."""
    files = {path.name for path in FOLDER.iterdir()} - {"README.md"}

    assert files == set(re.findall(r"\[`([^`]+)`\]", README.partition("## Install")[0]))


def test_the_documented_exposure() -> None:
    """The README says what systemd-analyze says."""
    assert f"an exposure of {EXPOSURE / 10}" in README


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


def test_flags_in_variables_exist() -> None:
    """The variables of the drop-ins are those of flags."""
    environment = variables("socket.conf", "credentials.conf", credentials=Path("/run/x"))
    flags = parse_flags([], environment)

    assert flags.serve.systemd_socket
    assert flags.web_config_file == "/run/x/web.yaml"
