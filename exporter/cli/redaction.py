"""What must not be shown: key ids as the configuration says, and passwords in URLs."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from exporter.key_ids import KeyIdFormatter

HIDDEN: Final = "<hidden>"

_USER_INFO = re.compile(r"""(?i)\b(https?|socks\w*|postgresql(?:\+\w+)?)://[^\s/"'<>]*@""")
"""The user name and password of a URL, such as that of a proxy."""


def redactor(key_ids: KeyIdFormatter, secrets: Sequence[str]) -> Callable[[str], str]:
    """
    Return a function that formats the key ids in a text and hides passwords.

    Args:
        secrets: Texts that are hidden wherever they are.
    """

    def redact(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        if "@" in text:
            text = _USER_INFO.sub(rf"\1://{HIDDEN}@", text)
        return key_ids.redact(text)

    return redact


class Redactor:
    """The redactor of the configuration in effect, which may change."""

    def __init__(self, key_ids: KeyIdFormatter, secrets: Sequence[str]) -> None:
        self._redact = redactor(key_ids, secrets)

    def __call__(self, text: str) -> str:
        return self._redact(text)

    def change(self, key_ids: KeyIdFormatter, secrets: Sequence[str]) -> None:
        """Hide other texts from now on."""
        self._redact = redactor(key_ids, secrets)
