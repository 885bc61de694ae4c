"""
Headless Chromium, driven by its DevTools protocol.

Tests are skipped without it, or fail with REQUIRE_REAL_SERVERS=1, as in CI.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.servers import find, wait_until

HEIGHT = 1200
MAX_MESSAGE = 100 * 1024 * 1024
SECONDS = 30.0
"""Within which Chromium must do what it is asked to."""


class Browser:
    """
    A tab of Chromium.

    Attributes:
        messages: What Chromium wrote to its console, such as violations of policies.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tab: WebSocketClientConnection) -> None:
        self._loop = loop
        self._tab = tab
        self._sent = 0
        self.messages: list[str] = []

    def set_up(self, *, scripts: bool) -> None:
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setScriptExecutionDisabled", value=not scripts)

    def show(self, width: int, *, dark: bool) -> None:
        """Show pages *width* pixels wide, in dark or light; the narrow ones as a phone does."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=HEIGHT,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Open *url*, and wait until it is loaded."""
        self._call("Page.navigate", until="Page.loadEventFired", url=url)

    def click(self, selector: str) -> None:
        """Click on the element that the CSS *selector* finds, and wait for the page it leads to."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView()")
        box = self.evaluate(
            "(() => { const box = document.querySelector("
            f"{json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2] })()"
        )
        at = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        self._call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self._call(
            "Input.dispatchMouseEvent", until="Page.loadEventFired", type="mouseReleased", **at
        )

    def type(self, selector: str, text: str) -> None:
        """Type *text* into the field that the CSS *selector* finds."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Press Enter, and wait for the page it leads to."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self._call("Input.dispatchKeyEvent", until="Page.loadEventFired", type="keyDown", **key)

    def evaluate(self, expression: str) -> Any:
        """Return the value of *expression*, in JavaScript, whether pages may run scripts or not."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """Return the text that is seen in the first element that the CSS *selector* finds."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def take_screenshot(self, file: Path) -> None:
        """Write a picture of the complete page, in PNG, to *file*."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, *, until: str = "", **parameters: Any) -> dict[str, Any]:
        """Call *method* of the protocol; wait for its answer, and for the event *until*."""
        return self._loop.run_until_complete(
            asyncio.wait_for(self._exchange(method, until, parameters), SECONDS)
        )

    async def _exchange(
        self, method: str, until: str, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        await self._tab.write_message(json.dumps(message))
        answer: dict[str, Any] | None = None
        while answer is None or until:
            text = await self._tab.read_message()
            assert text is not None, "Chromium ended"
            received = json.loads(text)
            if received.get("id") == self._sent:
                assert "error" not in received, received["error"]
                answer = received["result"]
            elif received.get("method") == "Log.entryAdded":
                self.messages.append(received["params"]["entry"]["text"])
            elif received.get("method") == until:
                until = ""
        return answer


@contextmanager
def chromium(*, scripts: bool = False) -> Iterator[Browser]:
    """
    Run Chromium with an empty profile.

    Args:
        scripts: Whether pages may run JavaScript.
    """
    program = find("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            program,
            "--headless",
            "--no-sandbox",  # CI runs as root, in a container
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--no-proxy-server",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
            start_new_session=True,
        )
        loop = asyncio.new_event_loop()
        try:
            port = Path(profile, "DevToolsActivePort")
            wait_until(lambda: port.read_text().count("\n"), "Chromium listens", SECONDS)
            tab = loop.run_until_complete(_open_tab(int(port.read_text().split("\n")[0])))
            browser = Browser(loop, tab)
            browser.set_up(scripts=scripts)
            yield browser
            loop.run_until_complete(asyncio.wait_for(_close(tab), SECONDS))
        finally:
            process.terminate()
            process.wait(SECONDS)
            loop.close()


async def _open_tab(port: int) -> WebSocketClientConnection:
    client = AsyncHTTPClient(force_instance=True)
    answer = await client.fetch(f"http://127.0.0.1:{port}/json/list")
    client.close()
    tab = next(each for each in json.loads(answer.body) if each["type"] == "page")
    return await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=MAX_MESSAGE)


async def _close(tab: WebSocketClientConnection) -> None:
    """Close the connection. On the event loop, without which Tornado would create another."""
    tab.close()
    while await tab.read_message() is not None:
        pass
