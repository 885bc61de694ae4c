"""
A stand-in for Terraform's AWS provider, which cannot be had offline.

It has the resources of the module in deploy/iam/terraform, and knows the names and types of their
arguments, but nothing of AWS: it can validate a configuration, and be mocked. Terraform runs it as
a program.
"""

from typing import Any, ClassVar

from tf import runner, types
from tf.blocks import SetNestedBlock
from tf.schema import Attribute, Block, NestedBlock, Schema

State = dict[str, Any]


def required(name: str, type_: Any = None) -> Attribute:
    return Attribute(name, type_ or types.String(), required=True)


def optional(name: str, type_: Any = None) -> Attribute:
    return Attribute(name, type_ or types.String(), optional=True)


def computed(name: str) -> Attribute:
    return Attribute(name, types.String(), computed=True)


def block(name: str, *attributes: Attribute) -> SetNestedBlock:
    return SetNestedBlock(name, Block(attributes=list(attributes)))


TAGS = optional("tags", types.Map(types.String()))
PREFERENCES = block(
    "operation_preferences",
    optional("failure_tolerance_percentage", types.Number()),
    optional("max_concurrent_percentage", types.Number()),
)


class Resource:
    """A resource of which there is nothing but its schema."""

    name: ClassVar[str]
    attributes: ClassVar[list[Attribute]]
    blocks: ClassVar[list[NestedBlock]] = []

    def __init__(self, provider: "Provider") -> None:
        self.provider = provider

    @classmethod
    def get_name(cls) -> str:
        return cls.name

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(attributes=[*cls.attributes, computed("id")], block_types=cls.blocks)

    def validate(self, diagnostics: Any, type_name: str, config: State) -> None:
        """Everything that fits the schema is valid."""


class Role(Resource):
    name = "iam_role"
    attributes: ClassVar[list[Attribute]] = [
        required("name"),
        optional("description"),
        required("assume_role_policy", types.NormalizedJson()),
        TAGS,
        computed("arn"),
    ]


class RolePolicy(Resource):
    name = "iam_role_policy"
    attributes: ClassVar[list[Attribute]] = [
        required("name"),
        required("role"),
        required("policy", types.NormalizedJson()),
    ]


class StackSet(Resource):
    name = "cloudformation_stack_set"
    attributes: ClassVar[list[Attribute]] = [
        required("name"),
        optional("description"),
        optional("permission_model"),
        optional("call_as"),
        optional("capabilities", types.Set(types.String())),
        optional("template_body"),
        optional("parameters", types.Map(types.String())),
        TAGS,
        optional("administration_role_arn"),
    ]
    blocks: ClassVar[list[NestedBlock]] = [
        block(
            "auto_deployment",
            optional("enabled", types.Bool()),
            optional("retain_stacks_on_account_removal", types.Bool()),
        ),
        PREFERENCES,
    ]


class StackSetInstance(Resource):
    name = "cloudformation_stack_set_instance"
    attributes: ClassVar[list[Attribute]] = [required("stack_set_name"), optional("call_as")]
    blocks: ClassVar[list[NestedBlock]] = [
        block("deployment_targets", optional("organizational_unit_ids", types.Set(types.String()))),
        PREFERENCES,
    ]


class Provider:
    def get_model_prefix(self) -> str:
        return "aws_"

    def full_name(self) -> str:
        return "registry.terraform.io/hashicorp/aws"

    def get_provider_schema(self, diagnostics: Any) -> Schema:
        return Schema()

    def validate_config(self, diagnostics: Any, config: State) -> None:
        """There is nothing to configure."""

    def configure_provider(self, diagnostics: Any, config: State) -> None:
        """There is nothing to configure."""

    def get_data_sources(self) -> list[Any]:
        return []

    def get_resources(self) -> list[type[Resource]]:
        return [Role, RolePolicy, StackSet, StackSetInstance]

    def get_functions(self) -> list[Any]:
        return []

    def new_resource(self, resource: type[Resource]) -> Resource:
        return resource(self)


if __name__ == "__main__":
    runner.run_provider(Provider())
