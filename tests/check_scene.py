"""Accounts for the tests of the subcommand check: one of everything that can be wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from exporter.cli.check import check
from exporter.cli.check_page import Checked
from exporter.cli.flags import parse_flags
from exporter.config import parse
from tests.builders import MONITORING, FakeClock, add_users, environment
from tests.fake_aws import FakeAws

ROLE: Final = "team/reader"
EXTERNAL_ID: Final = "the-external-id"
NAMES: Final = (
    "fine",
    "external-id",
    "role",
    "permission",
    "scp",
    "tag-session",
    "wrong",
    "expired",
)
"""The accounts, by what is wrong with them; their ids are 111111111111, 222222222222, ..."""

SCP: Final = (
    "with an explicit deny in a service control policy: arn:aws:organizations::999999999999:policy"
    "/o-exampleorg1/service_control_policy/p-12345678"
)


def account_id(name: str) -> str:
    return str(NAMES.index(name) + 1) * 12


def configuration(aws: FakeAws, more: str = "") -> str:
    """The configuration of the scene's accounts."""
    entries = []
    for name in NAMES:
        role = f"arn:aws:iam::{account_id(name)}:role/{ROLE}"
        external_id = "another-id" if name == "external-id" else EXTERNAL_ID
        profile = "profile: expired" if name == "expired" else ""
        entry = f"{{name: {name}, role_arn: '{role}', external_id: {external_id}, {profile}}}"
        if name == "wrong":
            entry = f"{{name: {name}, account_id: '{account_id(name)}', profile: other}}"
        entries.append(f"- {entry}\n")
    return f"accounts:\n{''.join(entries)}{endpoints(aws)}{more}"


def endpoints(aws: FakeAws) -> str:
    urls = ", ".join(f"{service}: '{aws.url}'" for service in ("iam", "sts", "organizations"))
    return f"aws: {{region: us-east-1, endpoint_urls: {{{urls}}}}}\n"


def checked(aws: FakeAws, text: str, *flags: str) -> Checked:
    """What check finds with the configuration *text*."""
    query = parse_flags(["check", *flags], {}).check
    assert query is not None
    return check(query, parse(text, "test"), FakeClock(), config_file="config.yaml")


@contextmanager
def scene(aws: FakeAws, directory: Path) -> Iterator[None]:
    """Create the accounts, and the credentials of an EKS pod, and of two profiles."""
    for name in NAMES:
        account = aws.account(account_id(name))
        account.report.instant = True
        add_users(account, 100, keys=80)
        if name != "role":
            account.role("reader", EXTERNAL_ID, path="/team/", allows_tags=name != "tag-session")
    aws.account(account_id("permission")).deny("iam:GetAccessKeyLastUsed")
    aws.account(account_id("scp")).deny("iam:ListAccessKeys", reason=SCP)
    pod = aws.session(aws.account(MONITORING).role("exporter"), "pod", tagged=True)
    expired = aws.session(aws.account(account_id("expired")).role("somebody"))
    aws.revoke(account_id("expired"))
    other = aws.credentials(account_id("role"))
    file = directory / "credentials"
    file.write_text(
        f"[other]\naws_access_key_id={other[0]}\naws_secret_access_key={other[1]}\n"
        f"[expired]\naws_access_key_id={expired.key_id}\naws_secret_access_key={expired.secret}\n"
        f"aws_session_token={expired.token}\n"
    )
    variables = {
        "AWS_ACCESS_KEY_ID": pod.key_id,
        "AWS_SECRET_ACCESS_KEY": pod.secret,
        "AWS_SESSION_TOKEN": pod.token or "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
    }
    with environment(variables):
        yield
