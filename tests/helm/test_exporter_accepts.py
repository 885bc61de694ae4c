"""The exporter accepts what the chart gives it: flags, environment, configurations."""

from pathlib import Path

import pytest
import trustme
import yaml

from exporter.cli.flags import parse_flags
from exporter.cli.main import main
from exporter.config import load
from tests.helm.charts import EXAMPLES, GOOD, MOUNTED, Manifest, Rendered, render
from tests.helm.values import CHART

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("helm")]

SECRETS = {
    "external-ids/audit": "secret-of-audit",
    "external-ids/prod": "secret-of-prod",
}
"""Files with secrets that the values name, by Secret and key."""


def write_files(rendered: Rendered, folder: Path) -> None:
    """Write what is mounted into the container into *folder*."""
    for directory, file in (("config", "config.yaml"), ("web", "web-config.yaml")):
        text = rendered.config(file)
        (folder / directory).mkdir()
        (folder / directory / file).write_text((text or "{}").replace(MOUNTED, str(folder)))
    for name, text in SECRETS.items():
        (folder / "secrets" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "secrets" / name).write_text(text)
    certificate = trustme.CA().issue_cert("localhost")
    (folder / "secrets" / "exporter-tls").mkdir()
    certificate.private_key_pem.write_to_path(folder / "secrets" / "exporter-tls" / "tls.key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "secrets" / "exporter-tls" / "tls.crt", append=True)


def arguments(container: Manifest, folder: Path) -> list[str]:
    """The arguments of *container*, with files in *folder*."""
    return [str(argument).replace(MOUNTED, str(folder)) for argument in container["args"]]


def set_environment(container: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of *container*, with something for what Kubernetes knows."""
    known = {
        "AWS_CA_BUNDLE": None,  # a file that does not exist here
        "DATABASE_URL": "postgresql://exporter:word@db.example.com/exporter",
        "POD_NAME": "release-aws-iam-key-exporter-0",
    }
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/aws-iam-key-exporter")
    for variable in container["env"]:
        value = known.get(variable["name"], variable.get("value", "x"))
        if value is not None:
            monkeypatch.setenv(variable["name"], value)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_configuration(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--config.check finds nothing wrong with flags, configuration and web configuration."""
    rendered = render(file)
    write_files(rendered, tmp_path)
    set_environment(rendered.container, monkeypatch)

    code = main([*arguments(rendered.container, tmp_path), "--config.check"])

    assert code == 0, capsys.readouterr()
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_nothing_of_the_configuration_is_changed(file: Path) -> None:
    """The configuration is what the values say, whatever its texts look like."""
    rendered = render(file)
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    text = rendered.config()
    if text is None:
        return

    written = yaml.safe_load(text)

    wanted = yaml.safe_load(yaml.safe_dump(values.get("config", {}), default_flow_style=False))
    if "database" in values:
        wanted["state"] = {"url": "${DATABASE_URL}"}
    assert without_dates(written) == without_dates(wanted)


def without_dates(value: object) -> object:
    """Return *value* with dates as texts, which the exporter treats alike."""
    if isinstance(value, dict):
        return {key: without_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_dates(item) for item in value]
    return str(value) if type(value).__name__ == "date" else value


def test_the_database_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a database, its URL is in the environment, and the state in no file."""
    rendered = render(CHART / "examples" / "sharded.yaml")
    write_files(rendered, tmp_path)
    set_environment(rendered.container, monkeypatch)
    flags = parse_flags(arguments(rendered.container, tmp_path), {"POD_NAME": "exporter-2"})

    config = load(Path(flags.config_file), {"DATABASE_URL": "postgresql://a:b@c/d"})

    assert config.state.location() == "postgresql://a:b@c/d"
    assert flags.shard.ordinal == 2


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_check(file: Path, tmp_path: Path) -> None:
    """`helm test` runs a subcommand that exists, on the same configuration."""
    rendered = render(file)
    (pod,) = rendered.of("Pod")
    (container,) = pod["spec"]["containers"]

    flags = parse_flags(container["args"], {})

    assert container["args"][0] == "check"
    assert flags.config_file == f"{MOUNTED}/config/config.yaml"
    mounts = [of for of in rendered.container["volumeMounts"] if of["name"] != "state"]
    assert container["volumeMounts"] == mounts
    assert container["env"] == rendered.container["env"]
