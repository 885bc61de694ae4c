"""Every field of a web configuration with every kind of value gets the verdict of promtool."""

import itertools
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exporter.server import WebConfig, WebConfigError
from tests.server.web_files import Certificates
from tests.servers import Release, find

pytestmark = pytest.mark.slow

HASH = "QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"

FIELDS = (
    "{0}",
    "tls_server_config: {0}",
    "http_server_config: {0}",
    "rate_limit: {0}",
    "basic_auth_users: {0}",
    "{0}: {{}}",
    "rate_limit: {{interval: {0}}}",
    "rate_limit: {{burst: {0}}}",
    "rate_limit: {{{0}: 1}}",
    "rate_limit: {{<<: {0}}}",
    "rate_limit: {{burst: 1, <<: {{burst: {0}}}}}",
    "http_server_config: {{http2: {0}}}",
    "http_server_config: {{headers: {0}}}",
    "http_server_config: {{headers: {{{0}: x}}}}",
    "http_server_config: {{headers: {{Content-Security-Policy: {0}}}}}",
    "http_server_config: {{headers: {{Strict-Transport-Security: {0}}}}}",
    "http_server_config: {{headers: {{X-Content-Type-Options: {0}}}}}",
    "http_server_config: {{headers: {{X-Frame-Options: {0}}}}}",
    "http_server_config: {{headers: {{X-XSS-Protection: {0}}}}}",
    "basic_auth_users: {{user: {0}}}",
    "basic_auth_users: {{{0}: $2y$10$" + HASH + "}}",
    "basic_auth_users: {{1: $2y$10$" + HASH + ", {0}: $2y$10$" + HASH + "}}",
    *(
        "tls_server_config: {{cert_file: server.crt, key_file: server.key, " + field + "}}"
        for field in (
            "cert: {0}",
            "key: {0}",
            "client_auth_type: {0}",
            "cipher_suites: {0}",
            "cipher_suites: [{0}]",
            "curve_preferences: {0}",
            "curve_preferences: [{0}]",
            "min_version: {0}",
            "max_version: {0}",
            "prefer_server_cipher_suites: {0}",
            "client_allowed_sans: {0}",
            "client_allowed_sans: [{0}]",
            "client_auth_type: VerifyClientCertIfGiven, client_ca_file: {0}",
            "client_auth_type: VerifyClientCertIfGiven, client_ca: {0}",
            "client_ca_file: {0}",
            "client_ca: {0}",
        )
    ),
    "tls_server_config: {{cert_file: {0}}}",
    "tls_server_config: {{cert_file: {0}, key_file: server.key}}",
    "tls_server_config: {{cert_file: server.crt, key_file: {0}}}",
)

WORDS = "~ null Null nUll true True tRue y Y yes Yes yEs on ON off n No = << .inf -.Inf .nan +.inf"
NUMBERS = (
    "0 -0 +0 1 -1 +1 00 08 017 1_000 _1 1_ 1__0 0x1F 0X1f -0x1 0x 0o17 0O17 0b11 -0b1 0b12"
    " 1:20:30 1. 1.0 .5 -.5 1.5_5 ._5 1e3 1E3 1e-3 1e400 - . 2001-01-01 2001-1-1t1:2:3Z 99999999999"
    " 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809"
    " 18446744073709551615 18446744073709551616 0xffffffffffffffff 9223372036854775808.0 1e19"
)
DURATIONS = (
    "1s -1s +1s '-0' '1' '0' '+0' '-' '00' '0.0' 1h30m 1.5h 1.s .5s .s s 1d 1w 1S '1s ' 1m1 1h-1m"
    " 1µs 1μs 1ns 100ms 1_0s 1e3s ٣s 2562047h47m16.854775807s 2562047h47m16.854775808s 2562048h"
    " -2562047h47m16.854775808s -2562047h47m16.854775809s -9223372036854775808ns"
    " 9223372036854775808ns 99999999999999999999s 0.99999999999999999999s 0.0000000000000001h"
)
TAGS = (
    "!!str 1|!!int 1|!!int '1'|!!int 1.0|!!int x|!!float 1|!!float 1.5|!!float x|!!bool y|!!bool 1"
    "|!!bool 'on'|!!null ''|!!null x|!!binary YQ==|!!binary YQ|!!binary '?'|!!timestamp 2001-01-01"
    "|!!timestamp x|!!foo 1|!foo 1|! 1|!<x> 1|!!map {}|!!seq []|!!set {a}|!!str|!!merge <<"
)
TEXTS = (
    "''|'1'|\"1\"|'true'|'null'|'a b'|\" a\"|'a '|'\"'|é|'\t'|a\tb|\"\\u0041\"|\"\\0\"|\"\\ud800\""
    "|&a b|*b|@|a#b|a #b|%|[]|[a]|[1]|[~]|[[]]|{}|{a: b}|{1: 2}|{a: ~}|{~: a}|{a: 1, a: 2}"
    "|{? [a] : b}|nosniff|deny|sameorigin|DENY|'deny '|server.crt|server.key|ca.crt|other.key"
    "|encrypted.key|both.pem|chain.crt|./server.crt|missing|.|/dev/null|TLS10|TLS11|TLS12|tls12|TLS1.2"
    "|NoClientCert|VerifyClientCertIfGiven|RequireAndVerifyClientCert|requestclientcert|CurveP256|X25519|P256"
    "|X25519MLKEM768|TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256|TLS_RSA_WITH_AES_128_CBC_SHA"
    "|TLS_RSA_WITH_RC4_128_SHA|TLS_AES_128_GCM_SHA256|TLS_FALLBACK_SCSV"
)
HASHES = tuple(
    f"'${version}${cost}${HASH}'"
    for version, cost in (
        *(
            (version, "10")
            for version in ("2", "2a", "2b", "2x", "2y", "2é", "1y", "3y", "2yy", " y")
        ),
        *(
            ("2y", cost)
            for cost in ("04", "31", "03", "32", "4", "+4", "-4", " 4", "1_", "١٢", "010")
        ),
    )
)
VALUES = (
    *(*WORDS.split(), *NUMBERS.split(), *DURATIONS.split(), *TAGS.split("|"), *TEXTS.split("|")),
    *(*HASHES, f"$2y$10${HASH[:-1]}", f"$2$10${HASH[:-1]}", f"$2y$10${HASH}x", f"2y$10${HASH}"),
)

# Where the verdict on null is another one.
INTENDED = (
    "min_version: ",  # Go reads NULL as no version, and other words for it as the default
    "max_version: ",
    "cipher_suites: ",  # Go reads null as a cipher suite or curve that does not exist
    "curve_preferences: ",
)


def batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def is_valid(path: str) -> bool:
    try:
        WebConfig(path)
    except WebConfigError:
        return False
    return True


def is_intended(text: str, value: str) -> bool:
    """Whether the verdict is another one than that of promtool."""
    if "min_version: TLS13" in text or "max_version: TLS1" in text:
        return True  # no client could connect
    if value.strip("[]").lower() in ("null", "~", "!!null ''"):
        return any(name in text for name in INTENDED)
    return text == "{}: {}" or ("headers" in text and value == '"\\0"')


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_promtool_agrees_on_every_value(tmp_path: Path) -> None:
    """Each value is valid, or invalid, in each field, as promtool says."""
    promtool = find("promtool", Release.NEWER)
    Certificates(tmp_path)
    written: dict[str, str] = {}
    for number, (field, value) in enumerate(itertools.product(FIELDS, VALUES)):
        text = field.format(value)
        if not is_intended(text, value):
            path = tmp_path / f"{number}.yml"
            path.write_text(text, encoding="utf-8")
            written[str(path)] = text
    expected: dict[str, bool] = {}
    for batch in batches(list(written), 500):
        command = [promtool, "check", "web-config", *batch]
        result = subprocess.run(command, capture_output=True, timeout=60, check=False)
        for line in (result.stdout + result.stderr).decode(errors="replace").split("\n"):
            name, _, verdict = line.partition(" ")
            if name in written:
                expected[name] = verdict.startswith("SUCCESS")

    differences = [
        f"{text!r} is {'valid' if expected[path] else 'invalid'}"
        for path, text in written.items()
        if is_valid(path) is not expected[path]
    ]

    assert set(expected) == set(written)
    assert not differences, "\n".join(differences)
