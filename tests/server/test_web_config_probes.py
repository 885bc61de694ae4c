"""Probes of an exporter that asks for TLS and a password."""

from pathlib import Path

import bcrypt
import pytest

from tests.server.web_files import Answer, Certificates, ask, basic
from tests.servers import exporter, free_port, wait_until

pytestmark = pytest.mark.process

NO_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
"""An account that cannot be read."""


def test_probes_need_neither_tls_nor_a_password(tmp_path: Path) -> None:
    """On their own address, probes are answered in plain HTTP without a password."""
    certificates = Certificates(tmp_path)
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    web_config = tmp_path / "web.yml"
    web_config.write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f"basic_auth_users: {{prometheus: {hashed}}}\n"
        "rate_limit: {interval: 1h, burst: 3}\n",
        encoding="utf-8",
    )
    port, probes = free_port(), free_port()
    with exporter(
        f"--web.config.file={web_config}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.probe-listen-address=127.0.0.1:{probes}",
        environment=NO_ACCOUNT,
    ) as running:
        wait_until(lambda: "msg=listening " in running.log, "it listens")
        healthy = [ask(probes) for _ in range(5)]
        tls = certificates.client()
        others = [ask(port, tls, text) for text in (None, basic("prometheus", "secret"))]

    assert healthy == [Answer(200)] * 5
    assert [each.status for each in others if isinstance(each, Answer)] == [401, 200]
