"""ministack: a simulated AWS that enforces IAM policies and trust policies."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from exporter.policy import Document
from tests.iam.programs import environment
from tests.servers import free_port, get, wait_until

Client = Any
"""A boto3 client."""


@contextmanager
def ministack() -> Iterator[str]:
    """Run ministack with AUTH=true; its URL."""
    port = free_port()
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [environment("ministack") / "ministack"],
        env=variables,
        stdout=sys.stderr,
        stderr=sys.stderr,
        cwd="/",
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: get(f"{url}/_ministack/ready"), "ministack is ready")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def root_client(url: str, service: str, account_id: str) -> Client:
    """Return a client with the credentials of an account's root user."""
    return client(url, service, account_id, "test")


def client(url: str, service: str, key: str, secret: str, token: str | None = None) -> Client:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )


def without(document: Document, *actions: str) -> Document:
    """Return *document* without these actions."""
    statements = [
        {**statement, "Action": left}
        for statement in document["Statement"]
        if (left := [action for action in statement["Action"] if action not in actions])
    ]
    return {**document, "Statement": statements}


def as_ministack_checks(document: Document) -> str:
    """
    Allow GetAccessKeyLastUsed on everything.

    ministack does not find out whose key it is, and checks the action on ``*``. AWS checks it on
    the user, as the policies have it.
    """
    action = "iam:GetAccessKeyLastUsed"
    wider = {"Effect": "Allow", "Action": [action], "Resource": "*"}
    allowed = any(action in statement["Action"] for statement in document["Statement"])
    return json.dumps(
        {**document, "Statement": [*document["Statement"], *([wider] if allowed else [])]}
    )
