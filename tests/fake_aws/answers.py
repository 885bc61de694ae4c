"""
From a request to its response: caller, counting, faults, permissions, operation.

Knows HTTP headers and bodies, but no connections.
"""

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from . import iam, sts
from .accounts import Account, World
from .faults import Fault, Faults
from .iam import Call
from .identity import Caller, Credentials
from .ledger import Ledger, LoggedCall
from .organizations import Organization
from .refusal import Refusal
from .wire import JSON, XML, Params, Reply, error_reply, json_reply, parse_form, xml_reply

Callback = Callable[[str, str, Params], object]

STS_OPERATIONS: Final = frozenset({"AssumeRole", "GetAccessKeyInfo", "GetCallerIdentity"})
STS_VERSION: Final = "2011-06-15"
JSON_CODE_OF: Final = {
    "AccessDenied": "AccessDeniedException",
    "ExpiredToken": "ExpiredTokenException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
}
"""Organizations has other codes for the same errors, and sends them with status 400."""


@dataclass(slots=True)
class Request:
    """
    A request that was parsed and counted, but not yet answered.

    Attributes:
        account_id: The account it is counted for: the caller's, for AssumeRole that of the role.
            Empty: the caller is unknown.
        refusal: The error to answer with, if that is known already.
    """

    service: str
    operation: str
    params: Params
    account_id: str = ""
    caller: Caller | None = None
    refusal: Refusal | None = None


class Answers:
    """
    Answers requests.

    Attributes:
        at_most: The largest page IAM serves.
        bugs: Tracebacks of unexpected exceptions, in this package or in a callback.
    """

    def __init__(self, world: World, *, log_size: int) -> None:
        self.world = world
        self.credentials = Credentials(world)
        self.faults = Faults()
        self.ledger = Ledger(size=log_size)
        self.callbacks: tuple[Callback, ...] = ()
        self.organization: Organization | None = None
        self.at_most = 1000
        self.bugs: list[str] = []
        self._request_ids = count(1)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Request:
        """Parse a request, and count it."""
        request = _read(headers, body)
        try:
            caller = request.caller = self._caller(headers, request.service)
            request.account_id = caller.account.id
            if self.credentials.has_ended(caller):
                request.refusal = Refusal("ExpiredToken")
        except Refusal as refusal:
            request.refusal = refusal
        if request.operation == "AssumeRole":
            request.account_id = sts.account_of(request.params.get("RoleArn", ""))
        self.ledger.enter(
            LoggedCall(self.world.clock(), request.account_id, request.operation, request.params)
        )
        return request

    def counts(self) -> Reply:
        """The calls so far, for a load test in another process."""
        return json_reply(self.ledger.calls_by_operation)

    def call_back(self, request: Request) -> None:
        """Call all callbacks with a request."""
        try:
            for callback in self.callbacks:
                callback(request.operation, request.account_id, request.params)
        except Exception:
            self.bugs.append(traceback.format_exc())

    def apply_faults(self, request: Request) -> tuple[float, Fault | None]:
        """Apply faults: the seconds to wait, and the fault that replaces the response."""
        key_id = request.params.get("AccessKeyId")
        return self.faults.apply(
            request.operation, request.account_id, self._user_name(request), key_id
        )

    def reply(self, request: Request, fault: Fault | None) -> Reply | None:
        """Answer a request. None: reset the connection."""
        if fault is not None and fault.reset:
            self.ledger.enter_error(request.account_id, request.operation, "reset")
            return None
        try:
            if fault is not None and fault.code is not None:
                raise Refusal(fault.code, fault.message, status=fault.status)
            reply = self._replacement(fault, request) or self._regular_reply(request)
        except Refusal as refusal:
            self.ledger.enter_error(request.account_id, request.operation, refusal.code)
            reply = error_reply(request.service, refusal, self._next_request_id())
        except Exception:
            self.bugs.append(traceback.format_exc())
            reply = Reply(500, "text/plain", self.bugs[-1].encode())
        if fault is None:
            return reply
        body = reply.body[: len(reply.body) // 2] if fault.truncate else reply.body
        return reply._replace(body=body, headers=fault.headers)

    def _replacement(self, fault: Fault | None, request: Request) -> Reply | None:
        if fault is None or fault.body is None:
            return None
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        content_type = JSON if request.service == "organizations" else XML
        return Reply(fault.status or 200, content_type, body)

    def _regular_reply(self, request: Request) -> Reply:
        caller = request.caller
        if request.refusal is not None:
            raise _as_sent_by(request.service, request.refusal)
        assert caller is not None
        with self.world.lock:
            match request.service:
                case "iam":
                    result = self._iam(request, caller)
                case "sts":
                    result = self._sts(request, caller)
                case _:
                    return json_reply(self._organizations(request, caller))
        return xml_reply(request.service, request.operation, result, self._next_request_id())

    def _iam(self, request: Request, caller: Caller) -> str:
        account = caller.account
        if account.bucket is not None and not account.bucket.take():
            raise Refusal("Throttling")
        operation = iam.OPERATIONS.get(request.operation)
        if operation is None:
            raise _unknown(request.operation, "2010-05-08")
        call = Call(self.world, caller, request.operation, request.params, self.at_most)
        if account.denials:
            self._check(account, request, caller, iam.resource(call))
        if account.report.denied and request.operation in iam.REPORT_OPERATIONS:
            raise _denial(caller, f"iam:{request.operation}", "*")
        return operation(call)

    def _sts(self, request: Request, caller: Caller) -> str:
        params = request.params
        if request.operation == "GetCallerIdentity":  # needs no permission and cannot be denied
            return sts.get_caller_identity(caller)
        self._check(caller.account, request, caller, params.get("RoleArn", "*"))
        if request.operation == "AssumeRole":
            return sts.assume_role(self.world, self.credentials, caller, params)
        if request.operation == "GetAccessKeyInfo":
            return sts.get_access_key_info(self.world, params)
        raise _unknown(request.operation, STS_VERSION)

    def _organizations(self, request: Request, caller: Caller) -> dict[str, Any]:
        account_id = caller.account.id
        try:
            self._check(caller.account, request, caller, "*")
        except Refusal as refusal:
            raise _as_sent_by("organizations", refusal) from None
        if self.organization is None or account_id not in self.organization.members:
            raise Refusal(
                "AWSOrganizationsNotInUseException",
                "Your account is not a member of an organization.",
            )
        return self.organization.answer(request.operation, request.params, account_id)

    def _check(self, account: Account, request: Request, caller: Caller, resource: str) -> None:
        if not account.denials:
            return
        action = f"{request.service}:{request.operation}"
        user = self._user_name(request)
        for denial in account.denials:
            if denial.matches(action, user):
                raise _denial(caller, action, resource, denial.reason)

    def _caller(self, headers: Mapping[str, str], service: str) -> Caller:
        # AWS4-HMAC-SHA256 Credential=<key id>/<day>/<region>/<service>/aws4_request, ...
        _, found, rest = headers.get("authorization", "").partition("Credential=")
        if not found:
            raise Refusal("MissingAuthenticationToken")
        key_id, _, scope = rest.partition("/")
        region = scope.split("/", 2)[1] if "/" in scope else "us-east-1"
        token = headers.get("x-amz-security-token")
        return self.credentials.caller(key_id, token, service=service, region=region)

    def _user_name(self, request: Request) -> str | None:
        """The user that a request names, or the owner of the key that it names."""
        if name := request.params.get("UserName"):
            return str(name)
        key = self.world.keys.get(request.params.get("AccessKeyId", ""))
        return key.user.name if key and key.user.account.id == request.account_id else None

    def _next_request_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._request_ids):012x}"


def _read(headers: Mapping[str, str], body: bytes) -> Request:
    target = headers.get("x-amz-target")
    if target is not None:
        operation = target.rpartition(".")[2]
        try:
            params = json.loads(body or b"{}")
        except ValueError:
            params = None
        if isinstance(params, dict):
            return Request("organizations", operation, params)
        refusal = Refusal("SerializationException", "")
        return Request("organizations", operation, {}, refusal=refusal)
    params = parse_form(body)
    operation = params.pop("Action", "")
    version = params.pop("Version", "")
    is_sts = operation in STS_OPERATIONS or version == STS_VERSION
    return Request("sts" if is_sts else "iam", operation, params)


def _unknown(operation: str, version: str) -> Refusal:
    if not operation:
        return Refusal("MissingAction", "Could not find the parameter Action")
    return Refusal("InvalidAction", f"Could not find operation {operation} for version {version}")


def _denial(
    caller: Caller,
    action: str,
    resource: str,
    reason: str = "because no identity-based policy allows the {action} action",
) -> Refusal:
    return Refusal(
        "AccessDenied",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} "
        + reason.replace("{action}", action),
    )


def _as_sent_by(service: str, refusal: Refusal) -> Refusal:
    if service != "organizations":
        return refusal
    return Refusal(JSON_CODE_OF.get(refusal.code, refusal.code), refusal.message, status=400)
