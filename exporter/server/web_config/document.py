"""
The text of a web configuration file, as exporter-toolkit reads it.

The format and its rules are those of Go: a text may be written as a number, a number may be left
empty, and a name that is not part of the format is refused.

Source: github.com/prometheus/exporter-toolkit, docs/web-configuration.md and web/tls_config.go
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import yaml

T = TypeVar("T")
Read = Callable[[yaml.Node, str], T]
"""Reads a node that is at a path such as ``rate_limit.burst``."""
_Pair = tuple[yaml.ScalarNode, yaml.Node]
"""A name and its value."""

CIPHER_SUITES: Final = {
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
"""
OpenSSL's name of each suite of Go's `tls.CipherSuites`, in Go's order of preference. Empty: of TLS
1.3, always offered.
"""

CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""OpenSSL's name of each curve."""

VERSIONS: Final = ("TLS10", "TLS11", "TLS12", "TLS13")

CLIENT_AUTH_TYPES: Final = (
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
)

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""The headers that can be set, and their values. None listed: any value."""

TAG: Final = "tag:yaml.org,2002:"
FLOAT: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
OCTAL: Final = re.compile(r"[-+]?0[0-7]+", re.ASCII)
DURATION: Final = re.compile(r"[-+]?((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
MAX_SECONDS: Final = (2**63 - 1) / 1e9
"""The longest duration of Go."""

BCRYPT: Final = re.compile(r"\$[0-2][^$]?\$(\d\d)\$.+", re.DOTALL | re.ASCII)
BCRYPT_LENGTH: Final = 59
"""Characters of the shortest hash."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One problem with a web configuration file.

    Attributes:
        line: Counted from 1.
        path: Such as ``tls_server_config.cert_file``. Empty for the file itself.
    """

    line: int
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """
    The section ``tls_server_config``. Texts are empty where they are not set.

    Attributes:
        curve_preferences: OpenSSL's names.
        cipher_suites: Go's names.
        client_allowed_sans: None: any.
    """

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: str = ""
    client_allowed_sans: tuple[str, ...] | None = None
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    prefer_server_cipher_suites: bool = True

    @property
    def is_enabled(self) -> bool:
        """Whether anything is set that needs TLS."""
        certificate = (self.cert, self.cert_file, self.key, self.key_file)
        return any((*certificate, self.client_ca, self.client_ca_file, self.client_auth_type))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """
    The section ``rate_limit``.

    Attributes:
        interval: Seconds. 0: requests are not limited.
    """

    interval: float = 0.0
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """
    A web configuration file.

    `http_server_config.http2` is missing: it has no effect, since Tornado serves HTTP/1.1 only.

    Attributes:
        headers: The section ``http_server_config.headers``.
        users: The bcrypt hash of each user's password.
    """

    tls: TLSSettings
    headers: Mapping[str, str]
    users: Mapping[str, str]
    rate_limit: RateLimit


def parse(data: bytes) -> tuple[Settings, list[Problem]]:
    """Parse the text of a file. The settings are of use only if there are no problems."""
    reader = _Reader()
    try:
        loader = yaml.SafeLoader(data)
        root = loader.get_node() if loader.check_node() else None
        settings = reader.settings(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        reader.problems.append(Problem(line, "", f"not YAML: {error.problem or error.context}"))
    except yaml.YAMLError:
        reader.problems.append(Problem(1, "", "not YAML: it has characters that are not text"))
    except RecursionError:
        reader.problems.append(Problem(1, "", "nested too deeply"))
    else:
        return settings, reader.problems
    return reader.settings(None), reader.problems


class _Reader:
    """Reads the sections of a file and collects its problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._read: dict[int, dict[str, _Pair]] = {}
        """The mappings that have been read, by the identity of their nodes."""

    def settings(self, root: yaml.Node | None) -> Settings:
        sections = self._mapping(
            root,
            "",
            {
                "tls_server_config": self._tls,
                "http_server_config": self._http,
                "rate_limit": self._rate_limit,
                "basic_auth_users": self._users,
            },
        )
        http = sections.get("http_server_config") or {}
        return Settings(
            tls=sections.get("tls_server_config") or TLSSettings(),
            headers=http.get("headers", {}),
            users=sections.get("basic_auth_users") or {},
            rate_limit=sections.get("rate_limit") or RateLimit(),
        )

    def _tls(self, node: yaml.Node, path: str) -> TLSSettings:
        text = self._text
        version, auth_type = self._one_of(VERSIONS), self._one_of(("", *CLIENT_AUTH_TYPES))
        fields: dict[str, Read[Any]] = {
            "cert": text,
            "key": text,
            "client_ca": text,
            "cert_file": text,
            "key_file": text,
            "client_ca_file": text,
            "client_auth_type": auth_type,
            "client_allowed_sans": self._list(text),
            "cipher_suites": self._list(self._one_of(tuple(CIPHER_SUITES))),
            "curve_preferences": self._list(self._one_of(tuple(CURVES))),
            "min_version": version,
            "max_version": version,
            "prefer_server_cipher_suites": self._boolean,
        }
        settings = TLSSettings(**self._mapping(node, path, fields))
        if settings.is_enabled:
            self._check_certificates(settings, node, path)
        return settings

    def _check_certificates(self, settings: TLSSettings, node: yaml.Node, path: str) -> None:
        if not (settings.cert or settings.cert_file):
            self._problem(node, path, "TLS needs a certificate: set cert_file, or cert")
        if not (settings.key or settings.key_file):
            self._problem(node, path, "TLS needs a private key: set key_file, or key")
        has_ca = settings.client_ca or settings.client_ca_file
        if has_ca and settings.client_auth_type in ("", "NoClientCert"):
            text = "client certificates are not asked for: set client_auth_type, or no client CA"
            self._problem(node, path, text)
        if settings.client_auth_type in ("RequireAnyClientCert", "RequireClientCert"):
            text = (
                f"{settings.client_auth_type} verifies nothing and is not supported: use"
                " RequireAndVerifyClientCert with client_ca_file"
            )
            self._problem(node, f"{path}.client_auth_type", text)
        if (
            settings.client_auth_type == "RequestClientCert"
            and settings.client_allowed_sans is not None
        ):
            text = (
                "names of certificates that nobody verifies protect nothing, and are not supported"
                " with RequestClientCert: use RequireAndVerifyClientCert with client_ca_file"
            )
            self._problem(node, f"{path}.client_allowed_sans", text)

    def _http(self, node: yaml.Node, path: str) -> dict[str, Any]:
        fields: dict[str, Read[Any]] = {"http2": self._boolean, "headers": self._headers}
        return self._mapping(node, path, fields)

    def _headers(self, node: yaml.Node, path: str) -> dict[str, str]:
        headers = {}
        for key, value in self._pairs(node, path):
            name = self._text(key, path)
            # As Go sends it. A text of several lines ends with a line break.
            text = re.sub(r"[\r\n]", " ", self._text(value, f"{path}.{name}")).strip()
            if name not in HEADERS:
                known = ", ".join(HEADERS)
                self._problem(key, f"{path}.{name}", f"can not be configured; only {known}")
            elif HEADERS[name] and text not in HEADERS[name]:
                expected = " or ".join(HEADERS[name])
                self._problem(value, f"{path}.{name}", f"must be {expected}, not {text!r}")
            elif not text.isprintable():
                self._problem(value, f"{path}.{name}", "must be printable text")
            headers[name] = text
        return headers

    def _rate_limit(self, node: yaml.Node, path: str) -> RateLimit:
        fields: dict[str, Read[Any]] = {"interval": self._duration, "burst": self._integer}
        return RateLimit(**self._mapping(node, path, fields))

    def _users(self, node: yaml.Node, path: str) -> dict[str, str]:
        users = {}
        for key, value in self._pairs(node, path):
            name = self._text(key, path)
            hashed = users[name] = self._text(value, f"{path}.{name}")
            match = BCRYPT.fullmatch(hashed)
            if len(hashed.encode()) < BCRYPT_LENGTH or match is None:
                text = "must be a bcrypt hash, such as htpasswd -nBC 12 USER prints"
                self._problem(value, f"{path}.{name}", text)
            elif not 4 <= int(match[1]) <= 31:
                text = f"the cost of the bcrypt hash must be 4 to 31, not {int(match[1])}"
                self._problem(value, f"{path}.{name}", text)
        return users

    def _mapping(
        self, node: yaml.Node | None, path: str, fields: Mapping[str, Read[Any]]
    ) -> dict[str, Any]:
        values = {}
        for key, value in self._pairs(node, path):
            name = self._text(key, path)
            at = f"{path}.{name}" if path else name
            if name not in fields:
                close = difflib.get_close_matches(name[:100], fields, n=1)
                suggestion = f"; did you mean {close[0]}?" if close else ""
                self._problem(key, at, f"unknown field{suggestion}")
            elif not _is_null(value):
                values[name] = fields[name](value, at)
        return values

    def _pairs(self, node: yaml.Node | None, path: str) -> list[_Pair]:
        """Return the names and values of a mapping, with those that it merges (``<<``)."""
        if node is None or _is_null(node):
            return []
        if id(node) not in self._read:
            self._read[id(node)] = {}  # in case that it merges itself
            self._read[id(node)] = self._merged(node, path)
        return list(self._read[id(node)].values())

    def _merged(self, node: yaml.Node, path: str) -> dict[str, _Pair]:
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, path, "must be a mapping")
            return {}
        own: dict[str, _Pair] = {}
        merged: dict[str, _Pair] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a name must be text")
            elif key.tag == f"{TAG}merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in reversed(sources):  # the first one has priority
                    if _is_null(source):
                        self._problem(source, path, "<< needs a mapping")
                    merged |= {pair[0].value: pair for pair in self._pairs(source, path)}
            elif key.value in own:
                self._problem(key, path, f"{key.value} is set twice")
            else:
                own[key.value] = key, value
        return merged | own

    def _list(self, read: Read[T]) -> Read[tuple[T, ...]]:
        def read_list(node: yaml.Node, path: str) -> tuple[T, ...]:
            if not isinstance(node, yaml.SequenceNode):
                self._problem(node, path, "must be a list")
                return ()
            return tuple(read(item, f"{path}[{index}]") for index, item in enumerate(node.value))

        return read_list

    def _one_of(self, values: tuple[str, ...]) -> Read[str]:
        def read_one_of(node: yaml.Node, path: str) -> str:
            text = self._text(node, path)
            if text not in values:
                known = ", ".join(filter(None, values))
                self._problem(node, path, f"must be one of {known}, not {text!r}")
            return text

        return read_one_of

    def _text(self, node: yaml.Node, path: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._problem(node, path, "must be text")
            return ""
        return "" if _is_null(node) else str(node.value)

    def _boolean(self, node: yaml.Node, path: str) -> bool:
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if node.tag != f"{TAG}bool" and not (is_plain and node.value in ("y", "Y", "n", "N")):
            self._problem(node, path, "must be true or false")
            return False
        return str(node.value).lower() in ("true", "yes", "on", "y")

    def _integer(self, node: yaml.Node, path: str) -> int:
        value = self._number(node)
        if value is None:
            self._problem(node, path, "must be a whole number")
        return value or 0

    def _duration(self, node: yaml.Node, path: str) -> float:
        nanoseconds = self._number(node)
        if nanoseconds is not None:
            return nanoseconds / 1e9
        text = self._text(node, path)
        if text == "0":
            return 0.0
        parts = DURATION_PART.findall(text) if DURATION.fullmatch(text) else []
        seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
        if not parts or seconds > MAX_SECONDS:
            expected = "a duration such as 500ms, 10s or 1m30s"
            self._problem(node, path, f"must be {expected}, not {text!r}")
        return -seconds if text.startswith("-") else seconds

    @staticmethod
    def _number(node: yaml.Node) -> int | None:
        """Return the whole part of a number of 64 bits. None: the node is something else."""
        if not isinstance(node, yaml.ScalarNode):
            return None
        if node.style is not None and node.tag != f"{TAG}int":  # a text, unless it is converted
            return None
        text = node.value.replace("_", "")
        try:
            if OCTAL.fullmatch(text):
                value = int(text, 8)
            elif FLOAT.fullmatch(text):
                value = int(float(text)) if set(text) & {*".eE"} else int(text)
            else:
                value = int(text, 0)
        except (ValueError, OverflowError):
            return None
        return value if abs(value) < 2**63 else None

    def _problem(self, node: yaml.Node, path: str, text: str) -> None:
        line = node.start_mark.line + 1 if node.start_mark is not None else 1
        self.problems.append(Problem(line, path, text))


def _is_null(node: yaml.Node) -> bool:
    return node.tag == f"{TAG}null"
