"""The subcommand policy: prints the IAM policies that the configuration requires."""

from collections.abc import Callable, Iterable

from exporter.cli.flags import PolicyFlags
from exporter.config import Config
from exporter.model import Account, Partition
from exporter.policy import (
    DEFAULT_ROLE_NAME,
    Document,
    Features,
    Policy,
    as_json,
    discovery_policy,
    exporter_policy,
    reader_policy,
    role_arn,
    trust_policy,
)


class PolicyError(Exception):
    """The flags and the configuration do not say which policy to print. Meant for the user."""


def render(
    query: PolicyFlags, config: Config, *, partition_of_region: Callable[[str], Partition | None]
) -> str:
    """
    Return the policy that *query* asks for, as JSON.

    Raises:
        PolicyError: Something has to be set.
    """
    return as_json(_document(query, config, partition_of_region))


def features_of(config: Config) -> Features:
    """Return the features of *config* that require permissions."""
    return Features(
        report_mode=config.collection.credential_report, tag_source=config.collection.user_tags
    )


def _document(
    query: PolicyFlags, config: Config, partition_of_region: Callable[[str], Partition | None]
) -> Document:
    features = features_of(config)
    match query.policy:
        case Policy.TRUST:
            external_id = query.external_id or _external_id(config)
            return trust_policy(features, query.principal, external_id)
        case Policy.DISCOVERY:
            return discovery_policy(features)
        case Policy.EXPORTER:
            roles = _roles(config, lambda: _partition(query, config, partition_of_region))
            return exporter_policy(features, roles)
        case Policy.READER:
            return reader_policy(features, _partition(query, config, partition_of_region))


def _partition(
    query: PolicyFlags, config: Config, partition_of_region: Callable[[str], Partition | None]
) -> Partition:
    """
    Choose the partition: the one of the flag, of the configured roles, or of the region.

    Raises:
        PolicyError: The roles are in several partitions.
    """
    if query.partition is not None:
        return query.partition
    arns = [account.role_arn for account in config.model_accounts() if account.role_arn]
    partitions = sorted({arn.partition for arn in arns})
    if len(partitions) > 1:
        found = " and ".join(partitions)
        raise PolicyError(f"the configured roles are in the partitions {found}: set --partition")
    if partitions:
        return partitions[0]
    region = config.aws.region
    return (partition_of_region(region) if region else None) or Partition.AWS


def _external_id(config: Config) -> str | None:
    """
    Return the external id of the configured roles.

    Raises:
        PolicyError: They have several.
    """
    ids = {account.external_id for account in _assumed(config)}
    if len(ids) > 1:
        raise PolicyError("the configured roles have different external IDs: set --external-id")
    return ids.pop() if ids else None


def _roles(config: Config, partition: Callable[[], Partition]) -> list[str]:
    """
    List the ARNs of the roles that the exporter assumes.

    Raises:
        PolicyError: It assumes none.
    """
    if not config.accounts:
        return [role_arn(DEFAULT_ROLE_NAME, partition())]
    arns = sorted({str(account.role_arn) for account in _assumed(config)})
    if not arns:
        raise PolicyError(
            "no role is configured for any account: attach the reader policy to the identity that"
            " the exporter runs as"
        )
    return arns


def _assumed(config: Config) -> Iterable[Account]:
    return [account for account in config.model_accounts() if account.role_arn is not None]
