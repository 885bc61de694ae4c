"""
Serve generated accounts until interrupted, or measure how fast they are served.

Meanwhile GET /calls returns the number of calls by operation, as JSON.
"""

import argparse
import signal
import socket
import sys
import time
from itertools import cycle, islice
from typing import Final
from urllib.parse import urlsplit

from .fake import FakeAws
from .faults import Fault
from .fleet import MONITORING, fill

ENDS: Final = {signal.SIGTERM, signal.SIGINT}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fake_aws",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accounts", type=int, default=10)
    parser.add_argument("--keys", type=int, default=100, help="of each account")
    parser.add_argument("--keys-per-user", type=int, default=1)
    parser.add_argument("--external-id", help="required by the roles")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="of each call, in seconds")
    parser.add_argument("--rate", type=float, help="of each account's IAM calls, per second")
    parser.add_argument("--burst", type=float, default=10)
    parser.add_argument("--bench", type=float, metavar="SECONDS", help="measure, then exit")
    options = parser.parse_args()

    if not options.bench:
        # Before the first thread starts: signals have to be blocked in all threads for sigwait.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    with FakeAws(port=options.port) as aws:
        fill(
            aws,
            accounts=options.accounts,
            keys=options.keys,
            keys_per_user=options.keys_per_user,
            external_id=options.external_id,
        )
        if options.latency:
            aws.fault(Fault(latency=options.latency))
        if options.rate is not None:
            for account in aws.accounts.values():
                account.throttle(rate=options.rate, burst=options.burst)
        if options.bench:
            calls = bench(aws, seconds=options.bench)
            print(f"{calls / options.bench:.0f} calls of GetAccessKeyLastUsed per second")
        else:
            serve(aws)


def serve(aws: FakeAws) -> None:
    """Print the environment for clients, wait for SIGTERM or SIGINT, print the calls."""
    for name, value in aws.environment(MONITORING).items():
        print(f"{name}={value}", flush=True)
    signal.sigwait(ENDS)
    for operation, calls in sorted(aws.calls_by_operation.items()):
        print(f"{operation} {calls}", file=sys.stderr)


def bench(aws: FakeAws, *, seconds: float) -> int:
    """
    Call GetAccessKeyLastUsed over one connection, from this process.

    Returns:
        The number of responses. Client and server share one interpreter: alone the server is
        faster.
    """
    account = next(account for account in aws.accounts.values() if account.users)
    key_id, _ = aws.credentials(account.id)
    requests = [_request(key_id, key.id) for key in islice(account.keys, 100)]
    address = urlsplit(aws.url)
    calls = 0
    with socket.create_connection((address.hostname, address.port)) as connection:
        end = time.monotonic() + seconds
        for request in cycle(requests):
            connection.sendall(request)
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            calls += 1
            if time.monotonic() > end:
                return calls
    return calls


def _request(signer: str, key_id: str) -> bytes:
    body = f"Action=GetAccessKeyLastUsed&Version=2010-05-08&AccessKeyId={key_id}"
    return (
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={signer}/20261123/us-east-1/iam/aws4_request"
        "\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


if __name__ == "__main__":
    main()
