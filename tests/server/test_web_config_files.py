"""Which web configuration files are valid. promtool decides, as it does for official exporters."""

import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.server import WebConfig, WebConfigError
from exporter.server.web_config.document import parse
from tests.server.web_files import FOLDER, Certificates
from tests.servers import Release, find

OUTDATED = "ignore:ssl.TLSVersion:DeprecationWarning"
"""TLS 1.0 and 1.1, which some files ask for."""


def files(folder: str) -> list[Path]:
    """List the files of a folder. The first line of each says what it is about."""
    return sorted((FOLDER / folder).glob("*.yml"))


def first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.filterwarnings(OUTDATED)
@pytest.mark.parametrize("path", files("good"), ids=lambda path: path.stem)
def test_good_files(path: Path, certificates: Certificates) -> None:
    """Files that follow the format are valid."""
    WebConfig(str(certificates.web_config(path)))


@pytest.mark.parametrize(
    "path", [*files("bad"), *files("refused_here")], ids=lambda path: path.stem
)
def test_bad_files(path: Path, certificates: Certificates) -> None:
    """Files that break a rule are refused with the problem that their first line names."""
    file = certificates.web_config(path)

    with pytest.raises(WebConfigError) as caught:
        WebConfig(str(file))

    problem = str(caught.value).splitlines()[1]
    assert problem.startswith(f"  {file}:")
    assert first_line(path) in problem


@pytest.mark.process
def test_promtool_agrees(certificates: Certificates) -> None:
    """promtool accepts the good files and refuses the bad ones."""
    promtool = find("promtool", Release.NEWER)
    # The last folder has what Go accepts, and either cannot serve to anyone or Python cannot serve.
    expected = {"good": True, "bad": False, "refused_here": True}
    written = {
        str(certificates.web_config(path)): is_valid
        for folder, is_valid in expected.items()
        for path in files(folder)
    }

    command = [promtool, "check", "web-config", *written]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    lines = (result.stdout + result.stderr).splitlines()
    verdicts = {
        file: is_valid
        for file in written
        for is_valid, verdict in ((True, "SUCCESS"), (False, "FAILED"))
        if any(line.startswith(f"{file} {verdict}") for line in lines)
    }
    assert verdicts == written


def test_all_problems_are_reported(tmp_path: Path) -> None:
    """Every problem of a file is reported, each with its line."""
    file = tmp_path / "web.yml"
    file.write_text(
        "tls_server_config: {min_version: x}\nbasic_auth_users: {a: b}\n", encoding="utf-8"
    )

    with pytest.raises(WebConfigError) as caught:
        WebConfig(str(file))

    assert str(caught.value).splitlines() == [
        f"{file}: 2 problems",
        (
            f"  {file}:1: tls_server_config.min_version: must be one of TLS10, TLS11, TLS12, TLS13,"
            " not 'x'"
        ),
        (
            f"  {file}:2: basic_auth_users.a: must be a bcrypt hash, such as htpasswd -nBC 12 USER"
            " prints"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff\xfe\x00", "not YAML: it has characters that are not text"),
        (b"a: &a [*a]", "a: unknown field"),
        (b"rate_limit: &a {<<: *a, burst: 1}", "rate_limit: contains itself"),
        (b"[" * 5000, "nested too deeply"),
        (b"? [a]\n: 1", "a name must be text"),
        (b"#" * (1024 * 1024 + 1), "cannot read file: larger than 1048576 bytes"),
    ],
)
def test_hostile_files(text: bytes, problem: str, tmp_path: Path) -> None:
    """Files that are no configuration at all are refused in one sentence."""
    file = tmp_path / "web.yml"
    file.write_bytes(text)

    with pytest.raises(WebConfigError) as caught:
        WebConfig(str(file))

    assert str(caught.value) == f"{file}: 1 problem\n  {file}:1: {problem}"


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("users", "basic_auth_users without TLS: passwords can be read on their way"),
        ("users_odd_hashes", "basic_auth_users.shorter: not a hash that bcrypt creates"),
        ("rate_limit_no_burst", "rate_limit.burst: without one, every request is answered"),
        ("client_request", "RequestClientCert verifies nothing, and is served as NoClientCert"),
        ("client_ca_missing", "clients may use a certificate of any authority"),
        ("client_ca_junk", "the client CA has no certificate, so no client's is accepted"),
    ],
)
def test_warnings(name: str, warning: str, certificates: Certificates) -> None:
    """What is valid but hardly meant is a warning."""
    file = certificates.web_config(FOLDER / "good" / f"{name}.yml")

    assert any(warning in each for each in WebConfig(str(file)).warnings)


def test_a_key_in_place_of_its_file_is_not_shown(tmp_path: Path) -> None:
    """A private key that is given as the name of its file does not get into the log."""
    file = tmp_path / "web.yml"
    file.write_text(
        "tls_server_config:\n  cert: x\n  key_file: |\n    BEGIN\n    secret\n", encoding="utf-8"
    )

    with pytest.raises(WebConfigError) as caught:
        WebConfig(str(file))

    assert "tls_server_config.key_file: ...: cannot read file: " in str(caught.value)
    assert "secret" not in str(caught.value)


def test_merges_of_merges(tmp_path: Path) -> None:
    """Aliases that are used over and over again do not take time or memory."""
    lines = ["x0: &x0 {burst: 1}"]
    lines += [f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}" for n in range(1, 60)]
    file = tmp_path / "web.yml"
    file.write_text("\n".join([*lines, "rate_limit: *x59"]), encoding="utf-8")

    with pytest.raises(WebConfigError) as caught:
        WebConfig(str(file))

    first, *unknown, last = str(caught.value).splitlines()
    assert (first, len(unknown)) == (f"{file}: 61 problems", 60)
    assert all(": unknown field" in problem for problem in unknown)
    assert last.endswith(": rate_limit: has too many aliases")


FIELDS = st.sampled_from(
    ("tls_server_config", "cert", "min_version", "basic_auth_users", "headers", "burst", "<<", "x")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | FIELDS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(FIELDS, values, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=50) | VALUES.map(lambda value: yaml.safe_dump(value).encode()))
def test_any_text_is_parsed(text: bytes) -> None:
    """Whatever a file contains, it is valid or has problems, each with its line."""
    _, problems = parse(text)

    assert all(problem.line >= 1 and problem.text for problem in problems)
