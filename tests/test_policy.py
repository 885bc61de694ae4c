"""The IAM policies, and the subcommand that prints them."""

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from exporter.aws import Operation
from exporter.aws.regions import partition_of
from exporter.cli.flags import parse_flags
from exporter.cli.main import main
from exporter.cli.policy import PolicyError, features_of
from exporter.config import Config, parse
from exporter.model import Partition, ReportMode, TagSource
from exporter.policy import (
    PERMISSIONS,
    Document,
    Features,
    Policy,
    discovery_policy,
    exporter_policy,
    needed,
    reader_policy,
    trust_policy,
)
from tests.iam.policies import CONFIGURATIONS, EXPORTER, GOLDEN, PRINTED, configuration, printed

ROOT = Path(__file__).parent.parent

EVERYTHING = Features(
    report_mode=ReportMode.GUIDE,
    tag_source=TagSource.BULK,
    ou_filters=True,
    account_tags=True,
    source_identity=True,
)


def actions(document: Document) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int | str | None, str, str]]:
    """Call `main`; its exit code, and what it printed."""

    def call(*flags: str) -> tuple[int | str | None, str, str]:
        code: int | str | None
        try:
            code = main(["policy", *flags])
        except SystemExit as error:
            code = error.code
        return code, *capfd.readouterr()

    return call


# Which permissions.


def test_every_operation_has_a_permission() -> None:
    """The table has all operations that the exporter calls, and GetCallerIdentity needs none."""
    operations = {str(operation) for operation in Operation}

    assert {permission.operation for permission in PERMISSIONS} == operations - {
        "GetCallerIdentity"
    }


@pytest.mark.parametrize("operation", [op for op in Operation if op.service != "sts"])
def test_an_action_is_named_after_its_operation(operation: Operation) -> None:
    """An operation requires the action of its service and name."""
    (permission,) = (p for p in PERMISSIONS if p.operation == operation)

    assert permission.action == f"{operation.service}:{operation}"


@pytest.mark.parametrize(("mode", "source"), [*product(ReportMode, TagSource)])
def test_the_reader_has_exactly_what_its_features_need(mode: ReportMode, source: TagSource) -> None:
    """The report and each source of tags have actions of their own."""
    expected = {"ListUsers", "ListAccessKeys", "GetAccessKeyLastUsed", "GetAccountSummary"}
    if mode is not ReportMode.OFF:
        expected |= {"GenerateCredentialReport", "GetCredentialReport"}
    expected |= {
        TagSource.OFF: set[str](),
        TagSource.BULK: {"GetAccountAuthorizationDetails"},
        TagSource.PER_USER: {"ListUserTags"},
    }[source]

    document = reader_policy(Features(report_mode=mode, tag_source=source), Partition.AWS)

    assert actions(document) == {f"iam:{name}" for name in expected}


def test_discovery_needs_one_action() -> None:
    """Without filters by unit or tag, ListAccounts says everything."""
    assert actions(discovery_policy(Features())) == {"organizations:ListAccounts"}


def test_units_and_account_tags_need_more() -> None:
    """Filters by unit may have to walk the tree, tags are read account by account."""
    assert actions(discovery_policy(Features(ou_filters=True))) == {
        "organizations:ListAccounts",
        "organizations:ListAccountsForParent",
        "organizations:ListOrganizationalUnitsForParent",
    }
    assert actions(discovery_policy(Features(account_tags=True))) == {
        "organizations:ListAccounts",
        "organizations:ListTagsForResource",
    }


def test_a_source_identity_needs_an_action_on_both_sides() -> None:
    """Only where one is configured may sessions have a source identity."""
    features = Features(source_identity=True)

    assert "sts:SetSourceIdentity" in actions(trust_policy(features, EXPORTER, None))
    assert "sts:SetSourceIdentity" in actions(exporter_policy(features, ["*"]))
    assert "sts:SetSourceIdentity" not in actions(trust_policy(Features(), EXPORTER, None))
    assert "sts:SetSourceIdentity" not in actions(exporter_policy(Features(), ["*"]))


def test_tagged_sessions_may_assume_the_role() -> None:
    """EKS Pod Identity's tags go along to every role, so TagSession is always allowed."""
    assert "sts:TagSession" in actions(trust_policy(Features(), EXPORTER, "external-id"))
    assert "sts:TagSession" in actions(exporter_policy(Features(), ["*"]))


def test_the_external_id_is_a_condition_of_assume_role_alone() -> None:
    """The other actions let nobody in, and must not depend on the external id."""
    statements = trust_policy(EVERYTHING, EXPORTER, "external-id")["Statement"]

    assert {action: s.get("Condition") for s in statements for action in s["Action"]} == {
        "sts:AssumeRole": {"StringEquals": {"sts:ExternalId": "external-id"}},
        "sts:TagSession": None,
        "sts:SetSourceIdentity": None,
    }


@pytest.mark.parametrize("partition", Partition)
def test_arns_are_in_the_partition(partition: Partition) -> None:
    """Every ARN of a policy is in the partition of the account."""
    text = json.dumps(reader_policy(EVERYTHING, partition))

    assert set(re.findall(r"arn:([^:]+):", text)) == {partition}


def test_needed_names_the_policy_to_change() -> None:
    """Of an operation that was denied, the table says the action, the policy and its statement."""
    (permission,) = (p for p in needed(EVERYTHING) if p.operation == "GetAccessKeyLastUsed")

    assert (permission.action, permission.policy, permission.statement) == (
        "iam:GetAccessKeyLastUsed",
        Policy.READER,
        "Keys",
    )


def test_needed_leaves_out_what_is_not_enabled() -> None:
    """An operation that the features do not call needs no permission."""
    assert not [p for p in needed(Features()) if p.operation == "ListUserTags"]


@pytest.mark.parametrize(
    "document",
    [
        reader_policy(EVERYTHING, Partition.AWS),
        trust_policy(EVERYTHING, EXPORTER, "id"),
        discovery_policy(EVERYTHING),
        exporter_policy(EVERYTHING, ["*"]),
    ],
)
def test_policies_only_allow_what_cannot_change_anything(document: Document) -> None:
    """Every action lists, gets, generates a report, or is about sessions."""
    names = [action.partition(":")[2] for action in actions(document)]

    assert [
        name
        for name in names
        if not re.match(r"(List|Get)[A-Z]|(GenerateCredentialReport|AssumeRole)$", name)
        and name not in ("TagSession", "SetSourceIdentity")
    ] == []


def test_statements_have_unique_alphanumeric_sids() -> None:
    """IAM accepts the ``Sid`` of every statement."""
    for document in (reader_policy(EVERYTHING, Partition.AWS), trust_policy(EVERYTHING, "*", "id")):
        sids = [statement["Sid"] for statement in document["Statement"]]

        assert len({*sids}) == len(sids)
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)


# From a configuration.


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed(name: str) -> None:
    """The policy for a configuration is the expected one, to the byte."""
    config, *flags = PRINTED[name]

    assert printed(configuration(config), *flags) == (ROOT / GOLDEN / f"{name}.json").read_text()


def test_every_expected_output_belongs_to_a_test() -> None:
    assert {path.stem for path in (ROOT / GOLDEN).iterdir()} == {*PRINTED}
    assert {config for config, *_ in PRINTED.values()} == {*CONFIGURATIONS}


def test_features_of_the_defaults() -> None:
    """The defaults of the features are those of the configuration."""
    assert features_of(Config()) == Features()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("organization: {role_name: r}", Features()),
        ("organization: {role_name: r, include: {ous: [r-abcd]}}", Features(ou_filters=True)),
        ("organization: {role_name: r, exclude: {ous: [r-abcd]}}", Features(ou_filters=True)),
        ("organization: {role_name: r, include: {tags: {a: b}}}", Features(account_tags=True)),
        ("organization: {role_name: r, exclude: {tags: {a: b}}}", Features(account_tags=True)),
        (
            "{organization: {role_name: r}, labels: {account_tags: [team]}}",
            Features(account_tags=True),
        ),
        ("organization: {role_name: r, include: {names: [a.*]}}", Features()),
    ],
)
def test_features_of_an_organization(text: str, expected: Features) -> None:
    """Filters by unit, and tags for filters or labels, need permissions; names do not."""
    assert features_of(parse(text, "test")) == expected


def test_an_organizations_roles_and_static_ones() -> None:
    """The exporter may assume the roles of all accounts, and that of discovery."""
    config = parse(
        "accounts: [{role_arn: 'arn:aws:iam::111111111111:role/other', external_id: one}]\n"
        "organization: {role_name: reader, external_id: two,"
        " discovery_role_arn: 'arn:aws:iam::999999999999:role/discovery'}",
        "test",
    )

    (statement,) = json.loads(printed(config, "--exporter"))["Statement"]
    assert statement["Resource"] == [
        "arn:aws:iam::*:role/reader",
        "arn:aws:iam::111111111111:role/other",
        "arn:aws:iam::999999999999:role/discovery",
    ]
    with pytest.raises(PolicyError, match="set --external-id"):
        printed(config, "--trust", f"--principal={EXPORTER}")


def test_a_flag_overrides_the_configured_partition() -> None:
    """--partition decides, whatever is configured."""
    assert "arn:aws-iso:" in printed(configuration("china"), "--partition=aws-iso")


def test_roles_in_two_partitions_need_the_flag() -> None:
    """One policy is for one partition."""
    config = parse(
        "accounts: [{role_arn: 'arn:aws-cn:iam::111111111111:role/reader'},"
        " {role_arn: 'arn:aws:iam::222222222222:role/reader'}]",
        "test",
    )

    with pytest.raises(PolicyError, match="aws and aws-cn: set --partition"):
        printed(config)


def test_two_external_ids_need_the_flag() -> None:
    """A trust policy has one external id."""
    config = parse(
        "accounts: [{role_arn: 'arn:aws:iam::111111111111:role/reader', external_id: first},"
        " {role_arn: 'arn:aws:iam::222222222222:role/reader', external_id: second}]",
        "test",
    )

    with pytest.raises(PolicyError, match="set --external-id"):
        printed(config, "--trust", f"--principal={EXPORTER}")
    assert "third" in printed(config, "--trust", f"--principal={EXPORTER}", "--external-id=third")


def test_no_external_id() -> None:
    """An empty flag overrides the configured external ID, for a role that gets none."""
    config = parse("organization: {role_name: reader, external_id: of-accounts}", "test")
    trust = ("--trust", f"--principal={EXPORTER}")

    assert "of-accounts" in printed(config, *trust)
    assert "Condition" not in printed(config, *trust, "--external-id=")


def test_without_roles_the_exporter_needs_the_reader_policy() -> None:
    """An identity that assumes no role reads the account itself."""
    config = parse("accounts: [{profile: audit}]", "test")

    with pytest.raises(PolicyError, match="attach the reader policy to the identity"):
        printed(config, "--exporter")


def test_the_partition_of_an_unknown_region_is_the_default() -> None:
    """A region that is newer than botocore is taken to be in aws."""
    assert partition_of("mars-north-1") is None
    assert "arn:aws:" in printed(parse("aws: {region: mars-north-1}", "test"))


# The subcommand.


def test_prints_the_reader_policy(call: Callable[..., Any]) -> None:
    """Without flags the policy of the reader is printed, and nothing else."""
    expected = (ROOT / GOLDEN / "reader_defaults.json").read_text()

    assert call() == (0, expected, "")


def test_reads_the_configuration(call: Callable[..., Any], tmp_path: Path) -> None:
    """--config.file decides which features are enabled."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATIONS["tags_bulk"], encoding="utf-8")

    code, stdout, stderr = call(f"--config.file={file}")

    assert (code, stderr) == (0, "")
    assert stdout == (ROOT / GOLDEN / "reader_tags_bulk.json").read_text()


def test_an_invalid_configuration(call: Callable[..., Any], tmp_path: Path) -> None:
    """Nothing is printed for a configuration that is invalid."""
    file = tmp_path / "config.yaml"
    file.write_text("colection: {}", encoding="utf-8")

    code, stdout, stderr = call(f"--config.file={file}")

    assert (code, stdout) == (2, "")
    assert "colection" in stderr


def test_a_policy_that_cannot_be_decided(call: Callable[..., Any], tmp_path: Path) -> None:
    """What has to be set is said in one line, with the exit code of invalid flags."""
    file = tmp_path / "config.yaml"
    file.write_text("accounts: [{profile: audit}]", encoding="utf-8")

    code, stdout, stderr = call(f"--config.file={file}", "--exporter")

    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith("aws-iam-key-exporter: no role is configured")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trust"], "--trust requires --principal"),
        (["--principal=" + EXPORTER], "--principal requires --trust"),
        (["--discovery", "--external-id=id"], "--external-id requires --trust"),
        (["--trust", "--discovery"], "--discovery cannot be combined with --trust"),
        (["--trust", "--principal=exporter"], "must be the ARN of a role or user such as"),
        (
            ["--trust", "--principal=arn:aws:sts::111122223333:assumed-role/exporter/session"],
            "a session's role is arn:aws:iam::ACCOUNT:role/ROLE",
        ),
        (["--trust", "--principal=*"], "must be the ARN"),
        (["--trust", "--principal=" + EXPORTER, "--external-id=x"], "must be 2 to 1224"),
        (["--partition=aws-mars"], "not 'aws-mars'"),
        (["--discovry"], "did you mean --discovery?"),
        (["extra"], "unknown argument: extra"),
    ],
)
def test_invalid_flags(call: Callable[..., Any], flags: list[str], message: str) -> None:
    """Each invalid flag gets a sentence, and nothing is printed."""
    code, stdout, stderr = call(*flags)

    assert (code, stdout) == (2, "")
    assert message in stderr


def test_help(call: Callable[..., Any]) -> None:
    """The help has examples and exit codes."""
    code, stdout, _ = call("--help")

    assert code == 0
    assert "examples:\n  aws-iam-key-exporter policy > reader.json\n" in stdout
    assert "exit codes: 0" in stdout


@pytest.mark.parametrize("principal", ["user/ci/exporter", "root", "role/exporter"])
def test_principals(principal: str) -> None:
    """Roles, users and whole accounts can be trusted."""
    arn = f"arn:aws-us-gov:iam::111122223333:{principal}"
    query = parse_flags(["policy", "--trust", f"--principal={arn}"], {}).policy

    assert query is not None
    assert query.principal == arn


def test_the_exporter_assumes_only_the_first_role_of_a_chain() -> None:
    """The next role of a chain is assumed by the one before, whose policy has to allow it."""
    hub, reader = (f"arn:aws:iam::{number * 12}:role/x" for number in "12")
    text = f"accounts: [{{role_arn: '{reader}', role_chain: ['{hub}']}}]"

    policy = printed(parse(text, "config.yaml", {}), "--exporter")

    assert hub in policy
    assert reader not in policy
