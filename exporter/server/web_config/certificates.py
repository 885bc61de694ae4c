"""TLS, as Python's ssl serves what the section `tls_server_config` describes."""

import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from exporter.server.web_config.settings import CIPHER_SUITES, CURVES, TLSSettings

VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
OUTDATED: Final = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)

CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", re.ASCII
)


class Invalid(Exception):
    """
    The settings cannot be served.

    Attributes:
        name: The field with the problem, such as ``cert_file``.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Files:
    """
    What the files of a configuration contain, or the texts in their place.

    Attributes:
        client_ca: None: there is none.
    """

    cert: bytes
    key: bytes
    client_ca: bytes | None


@dataclass(frozen=True, slots=True)
class TLS:
    """
    How connections are encrypted.

    Attributes:
        allowed_sans: What a client's certificate must name one of. None: any name.
        warnings: What is served differently from what the file says.
    """

    context: ssl.SSLContext
    allowed_sans: frozenset[str] | None
    warnings: tuple[str, ...]

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a client may connect, given its verified certificate as ssl returns it."""
        return self.allowed_sans is None or not self.allowed_sans.isdisjoint(_names(certificate))


def create(settings: TLSSettings, files: Files) -> TLS:
    """
    Create what encrypts connections.

    Raises:
        Invalid: The certificate, the key or a setting cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_versions(context, settings)
    _set_ciphers(context, settings)
    if not settings.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # Renegotiation costs the server more than the client, and nobody needs it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_certificate(context, settings, files)
    warnings = [
        *_set_curves(context, settings.curve_preferences),
        *_set_client_authentication(context, settings, files.client_ca),
    ]
    sans = settings.client_allowed_sans
    asks = context.verify_mode is not ssl.CERT_NONE
    return TLS(context, frozenset(sans) if asks and sans is not None else None, tuple(warnings))


def _set_versions(context: ssl.SSLContext, settings: TLSSettings) -> None:
    lowest, highest = VERSIONS[settings.min_version], VERSIONS[settings.max_version]
    if lowest > highest:
        text = f"{settings.min_version} is newer than max_version {settings.max_version}"
        raise Invalid("min_version", f"{text}: no client could connect")
    context.maximum_version = highest
    context.minimum_version = lowest


def _set_ciphers(context: ssl.SSLContext, settings: TLSSettings) -> None:
    lowest, highest = VERSIONS[settings.min_version], VERSIONS[settings.max_version]
    suites = settings.cipher_suites or tuple(CIPHER_SUITES)
    names = [CIPHER_SUITES[name] for name in suites if CIPHER_SUITES[name]]
    if names:
        # OpenSSL's security level 2, which it has by default, forbids TLS 1.0 and 1.1 completely.
        level = ["@SECLEVEL=0"] if lowest in OUTDATED else []
        context.set_ciphers(":".join(names + level))
    elif highest < ssl.TLSVersion.TLSv1_3:
        raise Invalid("cipher_suites", "all of them need TLS 1.3, which max_version excludes")
    else:  # they are all of TLS 1.3, so that no older version has one
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _set_curves(context: ssl.SSLContext, names: tuple[str, ...]) -> list[str]:
    """Set the curves and return warnings."""
    if not names:
        return []
    if hasattr(context, "set_groups"):  # Python 3.15
        context.set_groups(":".join(CURVES[name] for name in names))
        return []
    context.set_ecdh_curve(CURVES[names[0]])
    if len(set(names)) == 1:
        return []
    text = "this version of Python can offer one curve only, and offers"
    return [f"tls_server_config.curve_preferences: {text} {names[0]}"]


def _load_certificate(context: ssl.SSLContext, settings: TLSSettings, files: Files) -> None:
    key = "key_file" if settings.key_file else "key"
    certificate = "cert_file" if settings.cert_file else "cert"

    def refuse_password() -> str:
        raise Invalid(key, "the private key must not be encrypted")

    with _as_file(files.cert) as cert_path, _as_file(files.key) as key_path:
        try:
            context.load_cert_chain(cert_path, key_path, refuse_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise Invalid(key, "is not the key of the certificate") from error
            name = certificate if CERTIFICATE.search(files.cert) is None else key
            if error.reason and error.reason.startswith(("EE_", "CA_")):
                text = f"OpenSSL refuses the certificate: {_words(error.reason)}"
                raise Invalid(certificate, text) from error
            text = "is not a certificate and key in PEM format that belong together"
            raise Invalid(name, text) from error


def _set_client_authentication(
    context: ssl.SSLContext, settings: TLSSettings, client_ca: bytes | None
) -> list[str]:
    """Set which certificates clients need, and return warnings."""
    policy = settings.client_auth_type
    if policy in ("", "NoClientCert"):
        return []
    if policy == "RequestClientCert":
        # Such a certificate is asked for and ignored; Python cannot ask and ignore.
        text = "RequestClientCert verifies nothing, and is served as NoClientCert"
        return [f"tls_server_config.client_auth_type: {text}"]
    # Where names are required, so is a certificate, as exporter-toolkit has it.
    required = policy == "RequireAndVerifyClientCert" or settings.client_allowed_sans is not None
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    # For Go, every certificate of the client CA is trusted, also one that another one has issued.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if client_ca is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        text = "clients may use a certificate of any authority that this system trusts"
        return [f"tls_server_config: without client_ca_file, {text}"]
    if not _load_authorities(context, client_ca):
        text = "the client CA has no certificate, so no client's is accepted"
        return [f"tls_server_config: {text}"]
    return []


def _load_authorities(context: ssl.SSLContext, client_ca: bytes) -> int:
    """Load all certificates that are valid, as Go does, and return how many."""
    loaded = 0
    for certificate in CERTIFICATE.findall(client_ca):
        with suppress(ssl.SSLError, ValueError):
            context.load_verify_locations(cadata=certificate.decode("ascii"))
            loaded += 1
    return loaded


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Yield the path of a file of *data*, as OpenSSL wants it: in memory, where possible."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as temporary:
        temporary.write(data)
        temporary.flush()
        yield temporary.name


def _names(certificate: Mapping[str, Any] | None) -> set[str]:
    """Return the names of a certificate, as Go writes them."""
    names = set()
    for kind, name in (certificate or {}).get("subjectAltName", ()):
        if kind == "IP Address":
            names.add(str(ipaddress.ip_address(name.strip())))
        elif kind in ("DNS", "email", "URI"):
            names.add(name)
    return names
