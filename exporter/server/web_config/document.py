"""
The text of a web configuration file, as exporter-toolkit reads it.

The format and its rules are those of Go: a text may be written as a number, a number may be left
empty, and a name that is not part of the format is refused.

Source: github.com/prometheus/exporter-toolkit, docs/web-configuration.md and web/tls_config.go
"""

import re
from typing import Any

import yaml

from exporter.server.web_config import go_yaml
from exporter.server.web_config.passwords import Hash, HashError
from exporter.server.web_config.reader import Problem, Read, Reader
from exporter.server.web_config.settings import (
    CIPHER_SUITES,
    CLIENT_AUTH_TYPES,
    CURVES,
    HEADERS,
    VERSIONS,
    RateLimit,
    Settings,
    TLSSettings,
)


def parse(data: bytes) -> tuple[Settings, list[Problem]]:
    """Parse the text of a file. The settings are of use only if there are no problems."""
    reader = _Sections()
    try:
        settings = reader.settings(go_yaml.compose(data))
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


class _Sections(Reader):
    """Reads the sections of a file."""

    def settings(self, root: yaml.Node | None) -> Settings:
        sections = self.mapping(
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
        text = self.text
        version, auth_type = self.one_of(VERSIONS), self.one_of(("", *CLIENT_AUTH_TYPES))
        fields: dict[str, Read[Any]] = {
            "cert": text,
            "key": text,
            "client_ca": text,
            "cert_file": text,
            "key_file": text,
            "client_ca_file": text,
            "client_auth_type": auth_type,
            "client_allowed_sans": self.list_of(text),
            "cipher_suites": self.list_of(self.one_of(tuple(CIPHER_SUITES))),
            "curve_preferences": self.list_of(self.one_of(tuple(CURVES))),
            "min_version": version,
            "max_version": version,
            "prefer_server_cipher_suites": self.boolean,
        }
        settings = TLSSettings(**self.mapping(node, path, fields))
        if settings.is_enabled:
            self._check_certificates(settings, node, path)
        return settings

    def _check_certificates(self, settings: TLSSettings, node: yaml.Node, path: str) -> None:
        if not (settings.cert or settings.cert_file):
            self.problem(node, path, "TLS needs a certificate: set cert_file, or cert")
        if not (settings.key or settings.key_file):
            self.problem(node, path, "TLS needs a private key: set key_file, or key")
        has_ca = settings.client_ca or settings.client_ca_file
        if has_ca and settings.client_auth_type in ("", "NoClientCert"):
            text = "client certificates are not asked for: set client_auth_type, or no client CA"
            self.problem(node, path, text)
        if settings.client_auth_type in ("RequireAnyClientCert", "RequireClientCert"):
            text = (
                f"{settings.client_auth_type} verifies nothing and is not supported: use"
                " RequireAndVerifyClientCert with client_ca_file"
            )
            self.problem(node, f"{path}.client_auth_type", text)
        if (
            settings.client_auth_type == "RequestClientCert"
            and settings.client_allowed_sans is not None
        ):
            text = (
                "names of certificates that nobody verifies protect nothing, and are not supported"
                " with RequestClientCert: use RequireAndVerifyClientCert with client_ca_file"
            )
            self.problem(node, f"{path}.client_allowed_sans", text)

    def _http(self, node: yaml.Node, path: str) -> dict[str, Any]:
        fields: dict[str, Read[Any]] = {"http2": self.boolean, "headers": self._headers}
        return self.mapping(node, path, fields)

    def _headers(self, node: yaml.Node, path: str) -> dict[str, str]:
        headers = {}
        for name, key, value in self.entries(node, path, set()):
            at = f"{path}.{name}"
            text = self.text(value, at)
            if name not in HEADERS:
                self.problem(key, at, f"can not be configured; only {', '.join(HEADERS)}")
            elif HEADERS[name] and text not in HEADERS[name]:
                expected = " or ".join(HEADERS[name])
                self.problem(value, at, f"must be {expected}, not {text!r}")
            # As Go sends it. A text of several lines ends with a line break.
            headers[name] = re.sub(r"[\r\n]", " ", text).strip()
            if name in HEADERS and not headers[name].replace("\t", " ").isprintable():
                self.problem(value, at, "must be printable text")
        return headers

    def _rate_limit(self, node: yaml.Node, path: str) -> RateLimit:
        fields: dict[str, Read[Any]] = {"interval": self.duration, "burst": self.integer}
        return RateLimit(**self.mapping(node, path, fields))

    def _users(self, node: yaml.Node, path: str) -> dict[str, str]:
        users = {}
        for name, _, value in self.entries(node, path, set()):
            users[name] = self.text(value, f"{path}.{name}")
            try:
                Hash.parse(users[name])
            except HashError as error:
                self.problem(value, f"{path}.{name}", str(error))
        return users
