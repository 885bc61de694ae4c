"""The subcommand policy: prints the IAM policies that the configuration requires."""

from collections.abc import Callable

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
    organization = config.organization
    sessions = (*config.accounts, *([organization] if organization is not None else []))
    selections = () if organization is None else (organization.include, organization.exclude)
    return Features(
        report_mode=config.collection.credential_report,
        tag_source=config.collection.user_tags,
        ou_filters=any(selection.ous for selection in selections),
        account_tags=organization is not None
        and (bool(config.labels.account_tags) or any(selection.tags for selection in selections)),
        source_identity=any(session.source_identity for session in sessions),
    )


def _document(
    query: PolicyFlags, config: Config, partition_of_region: Callable[[str], Partition | None]
) -> Document:
    features = features_of(config)
    match query.policy:
        case Policy.TRUST:
            given = query.external_id
            external_id = _external_id(config) if given is None else given or None
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
    partitions = sorted(
        {arn.partition for account in _assumed(config) if (arn := account.role_arn)}
    )
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
    accounts = [account for account in config.model_accounts() if account.role_arn]
    ids = {account.role_session.external_id for account in accounts}
    if config.organization is not None:
        ids.add(config.organization.external_id)
    if len(ids) > 1:
        raise PolicyError("the configured roles have different external IDs: set --external-id")
    return ids.pop() if ids else None


def _roles(config: Config, partition: Callable[[], Partition]) -> list[str]:
    """
    List the ARNs of the roles that the exporter assumes itself: of a chain, the first one.

    Raises:
        PolicyError: It assumes none.
    """
    arns = {str((*account.role_session.via, account.role_arn)[0]) for account in _assumed(config)}
    organization = config.organization
    if organization is not None and organization.role_chain:
        arns.add(str(organization.role_chain[0]))
    elif organization is not None:
        arns.add(role_arn(organization.role_name, partition()))
    elif not config.accounts:
        arns.add(role_arn(DEFAULT_ROLE_NAME, partition()))
    if not arns:
        raise PolicyError(
            "no role is configured for any account: attach the reader policy to the identity that"
            " the exporter runs as"
        )
    return sorted(arns)


def _assumed(config: Config) -> list[Account]:
    """List what is read, or asked for accounts, through a role that is configured with its ARN."""
    callers = [] if config.organization is None else [config.organization.caller()]
    return [account for account in (*config.model_accounts(), *callers) if account.role_arn]
