"""Generates the policies in deploy/iam, and what the subcommand policy is expected to print."""

from typing import Final

from exporter.aws.regions import partition_of
from exporter.cli.flags import parse_flags
from exporter.cli.policy import render
from exporter.config import Config, parse
from exporter.model import Partition, TagSource
from exporter.policy import (
    DEFAULT_ROLE_NAME,
    Features,
    as_json,
    discovery_policy,
    exporter_policy,
    reader_policy,
    role_arn,
    trust_policy,
)

DEPLOY: Final = "deploy/iam"
GOLDEN: Final = "tests/data/policy"

EXPORTER: Final = "arn:aws:iam::111122223333:role/aws-iam-key-exporter-server"
"""The exporter's own role in the examples of deploy/iam."""

EXTERNAL_ID: Final = "REPLACE-WITH-YOUR-EXTERNAL-ID"

READERS: Final = {
    TagSource.OFF: "reader",
    TagSource.BULK: "reader-tags-bulk",
    TagSource.PER_USER: "reader-tags-per-user",
}
"""The names of the policies in deploy/iam, by the source of users' tags."""

CONFIGURATIONS: Final = {
    "defaults": "",
    "report_off": "collection: {credential_report: off}",
    "report_values": "collection: {credential_report: values}",
    "tags_bulk": "collection: {user_tags: bulk, passwords: true}\nlabels: {user_tags: [team]}",
    "tags_per_user": "collection: {credential_report: guide, user_tags: per_user}",
    "china": "accounts: [{role_arn: 'arn:aws-cn:iam::111111111111:role/reader'}]",
    "region": "aws: {region: us-gov-west-1}",
    "roles": """
accounts:
- {role_arn: 'arn:aws:iam::222222222222:role/team/reader', external_id: from-the-configuration}
- {role_arn: 'arn:aws:iam::111111111111:role/reader', external_id: from-the-configuration}
- {profile: audit}
""",
    "organization": """
organization:
  role_name: team/reader
  external_id: from-the-configuration
  discovery_role_arn: arn:aws-us-gov:iam::999999999999:role/discovery
  discovery_external_id: of-the-discovery-role
  exclude: {ous: [ou-abcd-12345678]}
labels: {account_tags: [team]}
""",
}

PRINTED: Final = {
    "reader_defaults": ("defaults",),
    "reader_report_off": ("report_off",),
    "reader_report_values": ("report_values",),
    "reader_tags_bulk": ("tags_bulk",),
    "reader_tags_per_user": ("tags_per_user",),
    "reader_china": ("china",),
    "reader_region": ("region",),
    "reader_partition": ("defaults", "--partition=aws-eusc"),
    "trust": ("defaults", "--trust", f"--principal={EXPORTER}"),
    "trust_external_id": ("roles", "--trust", f"--principal={EXPORTER}"),
    "trust_other_external_id": (
        "roles",
        "--trust",
        f"--principal={EXPORTER}",
        "--external-id=from-the-flag",
    ),
    "exporter_defaults": ("defaults", "--exporter"),
    "exporter_region": ("region", "--exporter"),
    "exporter_roles": ("roles", "--exporter"),
    "discovery_defaults": ("defaults", "--discovery"),
    "reader_organization": ("organization",),
    "trust_organization": ("organization", "--trust", f"--principal={EXPORTER}"),
    "exporter_organization": ("organization", "--exporter"),
    "discovery_organization": ("organization", "--discovery"),
}
"""What is printed: the configuration and the flags, by the name of the expected output."""


def configuration(name: str) -> Config:
    text = CONFIGURATIONS[name]
    return parse(text, name) if text else Config()


def printed(config: Config, *flags: str) -> str:
    """Return what the subcommand prints."""
    query = parse_flags(["policy", *flags], {}).policy
    assert query is not None
    return render(query, config, partition_of_region=partition_of)


def files() -> dict[str, str]:
    """Return the text of each generated file by its path in the repository."""
    features, partition = Features(), Partition.AWS
    deployed = {
        name: reader_policy(Features(tag_source=source), partition)
        for source, name in READERS.items()
    }
    deployed["trust"] = trust_policy(features, EXPORTER, EXTERNAL_ID)
    deployed["exporter"] = exporter_policy(features, [role_arn(DEFAULT_ROLE_NAME, partition)])
    deployed["discovery"] = discovery_policy(Features(ou_filters=True, account_tags=True))
    golden = {
        f"{GOLDEN}/{name}.json": printed(configuration(config), *flags)
        for name, (config, *flags) in PRINTED.items()
    }
    return {
        **{f"{DEPLOY}/{name}.json": as_json(document) for name, document in deployed.items()},
        **golden,
    }
