"""Problems and their cures: what is wrong, whatever the permissions are."""

from dataclasses import dataclass
from typing import Final

from exporter.model import Account, ReadError, Reason
from exporter.policy import Policy


@dataclass(frozen=True, slots=True)
class Cure:
    """
    Something to do.

    Attributes:
        command: Prints the policy that it takes. Empty: it takes none.
    """

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something that is wrong.

    Attributes:
        summary: A few words, for a table.
        text: A sentence.
        error: What AWS or botocore says. Empty: the sentence does.
        cures: What to do. Where there are several, the most likely one comes first.
        action: The action that is not allowed. Empty: it is something else.
        policy: Where the action has to be allowed. None: in none that the exporter prints.
    """

    summary: str
    text: str
    error: str
    cures: tuple[Cure, ...]
    action: str = ""
    policy: Policy | None = None


EXPIRED: Final = frozenset(
    {
        "ExpiredCredentials",
        "ExpiredToken",
        "ExpiredTokenException",
        "LoginRefreshRequired",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
    }
)
INVALID_KEY: Final = frozenset(
    {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"}
)

CURES: Final = {
    Reason.THROTTLED: "AWS throttles the requests of everybody in this account: check again later,"
    " or lower requests_per_second.",
    Reason.SERVICE_FAILURE: "AWS has an internal problem: check again later.",
    Reason.NETWORK: "Check the connection to AWS: aws.endpoint_urls, HTTPS_PROXY, NO_PROXY,"
    " AWS_CA_BUNDLE, firewalls.",
    Reason.TIMEOUT: "Check the connection to AWS: aws.endpoint_urls, HTTPS_PROXY, NO_PROXY,"
    " firewalls.",
    Reason.MALFORMED: "Check what answers in the place of AWS: aws.endpoint_urls, HTTPS_PROXY.",
    Reason.DEADLINE: "Raise collection.deadline, or the account's requests_per_second.",
}


def of_failure(summary: str, text: str, error: ReadError) -> Problem:
    """Explain a failure that is no matter of permissions or credentials."""
    cure = CURES.get(error.reason)
    return Problem(summary, text, str(error), (Cure(cure),) if cure else ())


def of_wrong_account(account: Account, error: ReadError) -> Problem:
    """Explain credentials that are not those of *account*."""
    said = str(error)
    text = f"{said[:1].upper()}{said[1:]}."
    if "already read" in said:
        cure = "Remove one of the two from the configuration: each account is read once."
        return Problem("duplicate", text, "", (Cure(cure),))
    configured = f"Set account_id to the account that {credentials_of(account)} belongs to."
    other = "Set another profile, or role_arn to a role in the account."
    return Problem("wrong account", text, "", (Cure(configured), Cure(other)))


def of_credentials(account: Account, error: ReadError) -> Problem:
    """Explain why there are no base credentials, or why AWS does not accept them."""
    source = credentials_of(account)
    summary, text = "bad credentials", f"AWS does not accept the credentials of {source}."
    if error.code in EXPIRED:
        summary, text = "credentials expired", f"The credentials of {source} have expired."
        cure = (
            "Renew them: aws sso login, aws login, or whatever created them. A running exporter"
            " looks for new ones by itself."
        )
    elif error.code in ("NoCredentialsError", "ProfileNotFound"):
        summary, text = "no credentials", f"There are no credentials in {source}."
        cure = (
            "Set AWS_PROFILE or the setting profile, or give the exporter a role: IRSA, EKS Pod"
            " Identity, an ECS task role or an instance profile."
        )
    elif error.code == "MissingDependencyException":
        summary, text = "no aws login", f"The credentials of {source} are those of aws login."
        cure = "Install what they require: pip install 'aws-iam-key-exporter[login]'."
    elif error.code in ("RequestExpired", "RequestTimeTooSkewed"):
        text = "The clock of this machine is wrong, or requests take minutes to reach AWS."
        cure = "Set the clock of this machine, best by NTP."
    elif error.code == "SignatureDoesNotMatch":
        cure = f"Correct the secret access key of {source}."
    elif error.code in INVALID_KEY:
        cure = (
            f"The access key of {source} does not exist, is not active, or belongs to another"
            " partition than aws.region: correct it, or the region."
        )
    elif error.code in ("OptInRequired", "RegionDisabledException"):
        text = "STS is not enabled for the region in the account."
        cure = "Enable the region in the account, or set aws.region to another one."
    else:
        cure = f"Correct the credentials of {source}."
    return Problem(summary, text, str(error), (Cure(cure),))


def credentials_of(account: Account) -> str:
    """Say where the base credentials of *account* come from."""
    return f"profile {account.profile}" if account.profile else "the default chain"
