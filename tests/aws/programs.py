"""A credential_process for tests: a real program, whose output can be changed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.fake_aws import FakeAws

SOON = 5 * 60
"""Seconds in which botocore already renews credentials, whenever it is asked for them."""


class Program:
    """
    A program, and a profile that finds credentials with it.

    Attributes:
        environment: Variables with which the profile `default` runs the program.
    """

    def __init__(self, folder: Path, aws: FakeAws, script: str | None = None) -> None:
        self._aws = aws
        self._answer = folder / "answer"
        self._runs = folder / "runs"
        self._runs.write_text("")
        file = folder / "program.sh"
        file.write_text(f"echo >> {self._runs}\n{script or f'cat {self._answer}'}\n")
        config = folder / "config"
        config.write_text(f"[default]\nregion = us-east-1\ncredential_process = /bin/sh {file}\n")
        self.environment = {"AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def runs(self) -> int:
        """How often it was run."""
        return len(self._runs.read_text())

    def belong_to(self, account_id: str, *, seconds: float | None = SOON) -> None:
        """Write credentials of this account, that expire in *seconds*. None: never."""
        id_, secret = self._aws.credentials(account_id)
        answer: dict[str, object] = {"Version": 1, "AccessKeyId": id_, "SecretAccessKey": secret}
        if seconds is not None:
            # By the system's clock, since that is botocore's.
            answer["Expiration"] = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        self.write(json.dumps(answer))

    def write(self, text: str) -> None:
        self._answer.write_text(text)
