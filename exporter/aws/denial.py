"""
What AWS says about a request that it denied: to whom, and by which kind of policy.

Source: IAM User Guide, "Troubleshoot access denied error messages".
"""

import re
from dataclasses import dataclass
from typing import Final

_DENIED: Final = re.compile(
    r"(?:User: (?P<caller>\S+) is )?not authorized to perform:? (?P<action>[\w-]+:[\w*]+)"
    r"(?: on resource: (?P<resource>access key \S+|\S+))?"
)
_IMPLICIT: Final = re.compile(r"because no (?P<kind>[a-z -]+?)(?: policy)? allows the ")
_EXPLICIT: Final = re.compile(
    r"with an explicit deny in (?:an?|the) (?P<kind>[a-z -]+?)(?: policy)?"
    r"(?:: (?P<arn>arn:\S*[^\s.]))?(?:[.:]|$)"
)


@dataclass(frozen=True, slots=True)
class Denial:
    """
    What AWS says about a request that it denied. Empty where it does not say.

    Attributes:
        caller: The ARN of whoever made the request.
        action: Such as ``iam:ListUsers``. Not always that of the operation: AssumeRole can require
            ``sts:TagSession``.
        resource: What the action was to be performed on.
        kind: The kind of policy that does not allow it, or denies it: ``identity-based``,
            ``service control``, ``resource control``, ``permissions boundary``, ``session``,
            ``role trust``, ``resource-based``.
        explicit: That policy denies it, so that no other one can allow it.
        policy_arn: The policy that denies it.
    """

    caller: str = ""
    action: str = ""
    resource: str = ""
    kind: str = ""
    explicit: bool = False
    policy_arn: str = ""


def parse_denial(message: str) -> Denial:
    """Find what *message*, of an error with the code AccessDenied, says."""
    denied = _DENIED.search(message)
    explicit = _EXPLICIT.search(message)
    policy = explicit or _IMPLICIT.search(message)
    return Denial(
        caller=(denied["caller"] or "") if denied else "",
        action=denied["action"] if denied else "",
        resource=(denied["resource"] or "") if denied else "",
        kind=policy["kind"] if policy else "",
        explicit=explicit is not None,
        policy_arn=(explicit["arn"] or "") if explicit else "",
    )
