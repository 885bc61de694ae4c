"""How the configuration reaches the modules."""

import threading
from collections.abc import Callable
from types import MethodType
from typing import Any, cast

from pydantic import BaseModel

from exporter.cli.application import Application, Rendering, _rendered_by
from exporter.cli.wiring import SystemClock
from exporter.config import Config
from exporter.metrics import SelfMetrics, negotiate
from tests.test_config import load_example


class Recorder:
    """
    Stands for a section of a configuration and records which options are read.

    Methods of the section run on the recorder, so that what they read is recorded as well.
    """

    def __init__(self, section: BaseModel, path: str, read: set[str]) -> None:
        self._section = section
        self._path = path
        self._read = read

    def __getattr__(self, name: str) -> Any:
        section = type(self._section)
        if name not in section.model_fields:
            return MethodType(getattr(section, name), self)
        path = f"{self._path}.{name}".lstrip(".")
        self._read.add(path)
        return self._wrap(getattr(self._section, name), path)

    def _wrap(self, value: Any, path: str) -> Any:
        if isinstance(value, BaseModel):
            return Recorder(value, path, self._read)
        if isinstance(value, tuple):
            return tuple(self._wrap(item, path) for item in value)
        return value


def options(section: type[BaseModel], path: str = "") -> set[str]:
    """Return the paths of *section*'s options and of the sections that they are in."""
    paths = set()
    for name, field in section.model_fields.items():
        here = f"{path}.{name}".lstrip(".")
        paths.add(here)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                paths |= options(part, here)
    return paths


FOR_READERS = {"exemptions.entries.reason"}
"""Options that are for the reader of the file; --config.check prints them."""

FOR_LOADING = {
    "accounts.external_id_file",
    "labels.hash_secret_file",
    "organization.discovery_external_id_file",
    "organization.external_id_file",
}
"""Options that are replaced by others when the file is loaded."""


def read_by(function: Callable[[Config], object]) -> set[str]:
    """Return the options that *function* reads, or the section if it reads all of it."""
    read: set[str] = set()
    function(cast(Config, Recorder(load_example(), "", read)))
    return {path for path in read if not any(each.startswith(f"{path}.") for each in read)}


def unread(config: Config) -> set[str]:
    """Return the options that creating the application for *config* does not read."""
    read: set[str] = set()
    recorder = cast(Config, Recorder(config, "", read))
    Application(
        recorder,
        stop=threading.Event(),
        clock=SystemClock(),
        self_metrics=SelfMetrics(version="1.2.3"),
    )
    return options(type(config)) - read - FOR_READERS - FOR_LOADING


def test_every_option_is_read() -> None:
    """Creating the application reads each option of the schema: none is without effect."""
    assert unread(load_example()) == set()


def test_an_unread_option_is_found() -> None:
    """An option that exists in the schema only is reported by the test above."""

    class Extended(Config):
        max_users: int = 0

    assert unread(Extended(**dict(load_example()))) == {"max_users"}


def test_every_option_that_samples_depend_on_is_noticed_when_it_changes() -> None:
    """An option that rendering reads is one of those that cause it to be done again."""
    noticed = read_by(_rendered_by)

    silent = {
        path
        for path in read_by(Rendering)
        if not any(path == each or path.startswith(f"{each}.") for each in noticed)
    }
    assert silent == set()
    assert "labels" in noticed


def test_accounts_are_exported_before_their_first_refresh() -> None:
    """As soon as the application is started, each account is exported as down."""
    config, stop = load_example(), threading.Event()
    application = Application(
        config, stop=stop, clock=SystemClock(), self_metrics=SelfMetrics(version="1.2.3")
    )
    stop.set()

    application.start()
    page = application.exposition.render(negotiate(""), names=frozenset(), gzip=False).decode()

    assert 'account_up{account_id="111111111111",account="prod"} 0\n' in page
    assert 'account_up{account_id="222222222222",account="audit"} 0\n' in page
