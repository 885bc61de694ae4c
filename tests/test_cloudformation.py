"""The CloudFormation template in deploy/iam: what it creates, as a stack and as a StackSet."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.model import Partition, TagSource
from exporter.policy import DEFAULT_ROLE_NAME, Features, reader_policy, trust_policy
from tests.iam.ministack import client
from tests.iam.policies import EXPORTER
from tests.iam.programs import environment
from tests.servers import free_port, get, wait_until

TEMPLATE = Path(__file__).parent.parent / "deploy" / "iam" / "reader-role.yaml"
EXTERNAL_ID = "the-external-id"
MANAGEMENT = "123456789012"
"""The account of credentials that moto does not know."""


# The template itself.


class Loader(yaml.SafeLoader):
    """Parses CloudFormation's short forms: ``!Ref x`` is ``{"Ref": x}``."""


def function(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {suffix: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", function)


def resolved(value: Any, parameters: dict[str, str], conditions: dict[str, Any]) -> Any:
    """Resolve the functions that the template uses."""

    def resolve(item: Any) -> Any:
        return resolved(item, parameters, conditions)

    match value:
        case {"Ref": name}:
            return parameters[name]
        case {"Sub": text}:
            return text.replace("${AWS::Partition}", parameters["AWS::Partition"])
        case {"Equals": [one, other]}:
            return resolve(one) == other
        case {"If": [condition, yes, no]}:
            return resolve(yes if resolve(conditions[condition]) else no)
        case dict():
            return {key: resolve(item) for key, item in value.items()}
    if isinstance(value, list):
        value = [item for item in map(resolve, value) if item is not None]
    return value


def role(partition: Partition, source: TagSource) -> Any:
    """Return the properties of the role that the template creates."""
    template = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506 (a SafeLoader)
    parameters: dict[str, Any] = {
        "AWS::Partition": str(partition),
        "AWS::NoValue": None,
        "ExporterArn": EXPORTER,
        "ExternalId": EXTERNAL_ID,
        "RoleName": DEFAULT_ROLE_NAME,
        "UserTags": str(source),
    }
    properties = template["Resources"]["Role"]["Properties"]
    return resolved(properties, parameters, template["Conditions"])


@pytest.mark.parametrize("source", TagSource)
@pytest.mark.parametrize("partition", [Partition.AWS, Partition.CHINA])
def test_the_role_may_do_what_the_policy_allows(partition: Partition, source: TagSource) -> None:
    """The role's policy is the one that the code generates, for each source of tags."""
    (policy,) = role(partition, source)["Policies"]

    expected = reader_policy(Features(tag_source=source), partition)
    assert policy["PolicyDocument"] == expected


def test_the_role_trusts_whom_the_trust_policy_names() -> None:
    """The role's trust policy is the one that the code generates."""
    document = role(Partition.AWS, TagSource.OFF)["AssumeRolePolicyDocument"]

    assert document == trust_policy(Features(), EXPORTER, EXTERNAL_ID)


def test_the_parameter_offers_every_source_of_tags() -> None:
    """What the configuration accepts, the template accepts."""
    template = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506 (a SafeLoader)

    assert set(template["Parameters"]["UserTags"]["AllowedValues"]) == {*map(str, TagSource)}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.xdist_group("cloudformation")
def test_cfn_lint_finds_nothing() -> None:
    """Resource types, properties and IAM actions exist."""
    program = environment("cloudformation") / "cfn-lint"
    result = subprocess.run(
        [str(program), "--include-checks", "I", "--", str(TEMPLATE)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.xdist_group("cloudformation")
def test_cfn_lint_finds_a_misspelt_action(tmp_path: Path) -> None:
    """The test above can fail."""
    file = tmp_path / "template.yaml"
    text = TEMPLATE.read_text().replace("iam:ListUsers", "iam:ListUser")
    file.write_text(text, encoding="utf-8")
    program = environment("cloudformation") / "cfn-lint"
    result = subprocess.run(
        [str(program), "--", str(file)], check=False, capture_output=True, text=True, timeout=100
    )

    assert result.returncode != 0
    assert "listuser" in result.stdout.lower()


# Deployed on moto.


@contextmanager
def moto() -> Iterator[str]:
    """Run moto's server; its URL."""
    port = free_port()
    program = environment("cloudformation") / "moto_server"
    process = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(port)], stdout=sys.stderr, stderr=sys.stderr
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: get(f"{url}/moto-api/"), "moto is ready", seconds=90)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto() as address:
        yield address


def management(url: str, service: str) -> Any:
    return client(url, service, "management", "secret")


def parameters(**others: str) -> list[dict[str, str]]:
    values = {"ExporterArn": EXPORTER, "ExternalId": EXTERNAL_ID, **others}
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def as_exporter(url: str, account_id: str) -> Any:
    """Assume the role in an account, as the exporter does; a client of IAM."""
    answer = management(url, "sts").assume_role(
        RoleArn=f"arn:aws:iam::{account_id}:role/{DEFAULT_ROLE_NAME}",
        RoleSessionName="test",
        ExternalId=EXTERNAL_ID,
    )["Credentials"]
    keys = (answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
    return client(url, "iam", *keys)


def documents(iam: Any) -> tuple[Any, Any]:
    """Return the policy and the trust policy of the role."""
    trust = iam.get_role(RoleName=DEFAULT_ROLE_NAME)["Role"]["AssumeRolePolicyDocument"]
    policy = iam.get_role_policy(RoleName=DEFAULT_ROLE_NAME, PolicyName="reader")["PolicyDocument"]
    return parsed(policy), parsed(trust)


def parsed(document: Any) -> Any:
    """
    Parse what moto returns for a template's policy: JSON, or what Python writes instead.

    In the place of a statement that is AWS::NoValue, which AWS leaves out, moto has a None.
    """
    found = yaml.safe_load(document) if isinstance(document, str) else document
    return {**found, "Statement": [item for item in found["Statement"] if item != "None"]}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.xdist_group("cloudformation")
@pytest.mark.timeout(240)
def test_a_stack_set_creates_the_role_in_every_member_account(url: str) -> None:
    """Deployed to an organizational unit, the role is in its accounts, and in no other."""
    organizations = management(url, "organizations")
    organizations.create_organization(FeatureSet="ALL")
    (root,) = organizations.list_roots()["Roots"]
    unit = organizations.create_organizational_unit(ParentId=root["Id"], Name="workloads")
    unit_id = unit["OrganizationalUnit"]["Id"]
    ids = {}
    for name in ("prod", "test", "elsewhere"):
        status = organizations.create_account(Email=f"{name}@example.com", AccountName=name)
        ids[name] = status["CreateAccountStatus"]["AccountId"]
    for name in ("prod", "test"):
        organizations.move_account(
            AccountId=ids[name], SourceParentId=root["Id"], DestinationParentId=unit_id
        )
    cloudformation = management(url, "cloudformation")
    cloudformation.create_stack_set(
        StackSetName=DEFAULT_ROLE_NAME,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=parameters(UserTags="per_user"),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        PermissionModel="SERVICE_MANAGED",
        AutoDeployment={"Enabled": True, "RetainStacksOnAccountRemoval": False},
    )
    cloudformation.create_stack_instances(
        StackSetName=DEFAULT_ROLE_NAME,
        DeploymentTargets={"OrganizationalUnitIds": [unit_id]},
        Regions=["us-east-1"],
    )

    for name in ("prod", "test"):
        iam = as_exporter(url, ids[name])
        assert documents(iam) == (
            reader_policy(Features(tag_source=TagSource.PER_USER), Partition.AWS),
            trust_policy(Features(), EXPORTER, EXTERNAL_ID),
        )
    roles = as_exporter(url, ids["elsewhere"]).list_roles()["Roles"]
    assert DEFAULT_ROLE_NAME not in {role["RoleName"] for role in roles}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.xdist_group("cloudformation")
@pytest.mark.timeout(240)
def test_a_stack_creates_the_role_in_the_management_account(url: str) -> None:
    """The same template, as an ordinary stack, creates the same role."""
    cloudformation = management(url, "cloudformation")
    cloudformation.create_stack(
        StackName=DEFAULT_ROLE_NAME,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=parameters(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )

    (stack,) = cloudformation.describe_stacks(StackName=DEFAULT_ROLE_NAME)["Stacks"]
    (output,) = stack["Outputs"]
    assert output["OutputValue"] == f"arn:aws:iam::{MANAGEMENT}:role/{DEFAULT_ROLE_NAME}"
    assert documents(management(url, "iam")) == (
        reader_policy(Features(), Partition.AWS),
        trust_policy(Features(), EXPORTER, EXTERNAL_ID),
    )


# What the page says.


def test_the_readmes_commands_have_the_templates_parameters() -> None:
    """Every command that deploys the template sets the parameters that have no default."""
    template = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506 (a SafeLoader)
    required = {name for name, item in template["Parameters"].items() if "Default" not in item}
    readme = TEMPLATE.with_name("README.md").read_text()
    commands = [
        command
        for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
        for command in block.replace("\\\n", "").splitlines()
        if "file://reader-role.yaml" in command
    ]

    assert len(commands) == 2
    for command in commands:
        assert {*re.findall(r"ParameterKey=(\w+)", command)} == required


def test_the_readme_names_every_file() -> None:
    """The table of files is complete, and every file exists."""
    folder = TEMPLATE.parent
    named = {*re.findall(r"\]\(([\w./-]+)\)", (folder / "README.md").read_text())}

    assert {name.partition("/")[0] for name in named} == {
        path.name for path in folder.iterdir()
    } - {"README.md"}
