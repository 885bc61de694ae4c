"""
What is done with each command of the documents: run it, check it, or say why it cannot run.

The first row of TREATMENTS that matches the beginning of a command decides. A command that no row
matches fails a test: add it here, as one that runs if it can.
"""

import re
from dataclasses import dataclass

from tests.documents.markdown import Command


@dataclass(frozen=True, slots=True)
class Runs:
    """It is run by bash, with the other commands of its document, and succeeds."""

    program: str = ""
    """What has to be installed. Empty: nothing else than the exporter."""


@dataclass(frozen=True, slots=True)
class Serves:
    """
    It is run until it says that it is ready, and then ended with SIGTERM, which succeeds.

    Attributes:
        more: Flags in addition, so that it uses a free port.
        ready: What it logs when it is ready.
    """

    more: tuple[str, ...]
    ready: str
    program: str = ""


@dataclass(frozen=True, slots=True)
class CallsAws:
    """It is not run, since it is for a real account; botocore's model has its options."""


@dataclass(frozen=True, slots=True)
class Makes:
    """It is not run, since it is what runs the tests, or takes long; its target exists."""


@dataclass(frozen=True, slots=True)
class Cannot:
    """It is not run, but bash can parse it."""

    reason: str


Treatment = Runs | Serves | CallsAws | Makes | Cannot

EXPORTER = r"aws-iam-key-exporter "
LISTEN = ("--web.listen-address=127.0.0.1:0",)

TREATMENTS: list[tuple[str, Treatment]] = [
    (rf"{EXPORTER}(check|events|policy|report)\b", Runs()),
    (rf"{EXPORTER}.*(--config\.check|--once|--help|--version)", Runs()),
    (rf"{EXPORTER}(serve )?--config", Serves(LISTEN, "msg=listening")),
    (
        r"prometheus ",
        Serves(
            ("--web.listen-address=127.0.0.1:0", "--storage.tsdb.path=data"),
            "Server is ready",
            "prometheus",
        ),
    ),
    (r"(export )?[A-Z_]+=", Runs("openssl")),
    (r"printf .*\| openssl", Runs("openssl")),
    (r"sed -i .* (rules|optional)/", Runs()),
    (r"mkdir -p state$|cp config\.example\.yaml", Runs()),
    (r"sqlite3 -readonly", Runs("sqlite3")),
    (r"curl .*(127\.0\.0\.1|EXPORTER):10064", Runs("curl")),
    (r"amtool (silence add|config routes test)", Runs("amtool")),
    (r"aws ", CallsAws()),
    (r"make ", Makes()),
    (r"git clone", Cannot("needs the network, and what it gets is this repository")),
    (r"cd aws-iam-key-exporter$", Cannot("is in what git clone gets")),
    (r"(pipx|\S+/pip) install|python3 -m venv", Cannot("installs from an index: see test_docs")),
    (r"pipx run", Cannot("downloads a program from an index")),
    (r"pip install ", Cannot("installs a release from an index")),
    (r"gh ", Cannot("needs the network, and a release")),
    (r"git checkout", Cannot("would change the checkout that is tested")),
    (r"install -(D -)?m|systemd-(sysusers|tmpfiles)", Cannot("changes the machine as root")),
    (r"systemctl|journalctl|systemd-analyze", Cannot("needs systemd as the first process")),
    (r"apt-get install", Cannot("changes the machine; .ci/run installs the same packages")),
    (r"\.ci/", Cannot("downloads programs; CI runs it")),
    (r"\.venv/bin/pytest", Cannot("would run the tests within a test")),
    (r"curl .*https://iam\.amazonaws\.com", Cannot("needs the network")),
    (r"docker ", Cannot("needs Docker: CI builds and runs the image without it")),
    (r"buildah ", Cannot("takes minutes: the tests of the image run it")),
    (r"(helm|kubectl) ", Cannot("needs a Kubernetes cluster")),
]


def treatment_of(command: Command) -> Treatment | None:
    """Return what is done with *command*. None: nobody has said."""
    text = command.text.replace("\\\n", " ")
    return next((each for pattern, each in TREATMENTS if re.match(pattern, text)), None)
