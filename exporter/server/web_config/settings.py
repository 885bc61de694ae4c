"""What a web configuration file can set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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
