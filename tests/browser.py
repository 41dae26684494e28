"""Open a page in a real headless browser by its debugging protocol: console, requests, layout, glyphs, a picture."""

import base64
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket  # of jupyter-server

from workbench.bootstrap_browser import find_browser

SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run")
START = 60  # seconds that a browser may take
UNKNOWN_GLYPHS = """(() => {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d", {willReadFrequently: true});
  canvas.width = canvas.height = 32;
  const picture = (letter, family) => {
    context.clearRect(0, 0, 32, 32);
    context.font = "20px " + family;
    context.fillText(letter, 4, 24);
    return context.getImageData(0, 0, 32, 32).data.join();
  };
  const families = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (["SCRIPT", "STYLE"].includes(parent.tagName)) continue;
    const family = getComputedStyle(parent).fontFamily;
    if (!families.has(family)) families.set(family, new Set());
    for (const letter of walker.currentNode.data) if (letter.trim()) families.get(family).add(letter);
  }
  const missing = new Set();
  for (const [family, letters] of families) {
    const box = picture("\\u{10FFFE}", family);
    for (const letter of letters) if (picture(letter, family) === box) missing.add(letter);
  }
  return [...missing].join("");
})()"""


class Tab:
    """Hold one page of a running browser."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, timeout=START)
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, page: Path, width: int, dark: bool = False) -> None:
        """Show a file at a width in pixels, and wait until it and its fonts are loaded."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))
        self.value("document.fonts.ready.then(() => true)")

    def value(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, path: Path) -> Path:
        """Store the whole page as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    @property
    def complaints(self) -> list[str]:
        """Return errors and warnings of the console, and exceptions."""
        found = [event["params"] for event in self.events if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]
        said = [event["params"] for event in self.events if event.get("method") == "Runtime.consoleAPICalled"]
        return [json.dumps(each) for each in [*found, *said]]

    @property
    def requests(self) -> list[str]:
        """Return every address that was asked for, but for the page itself and what it carries."""
        sent = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("file:", "data:"))]


def browser_program() -> str:
    """Return the path of the installed browser; skip the test, with the reason, where there is none."""
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed: `make browser` installs it on Debian and Ubuntu")
    return program


@contextmanager
def browser(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Tab]:
    """Start a headless browser with its profile in `folder`; skip the test where none is installed."""
    command = [browser_program(), *SWITCHES, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Tab(_address(folder / "profile" / "DevToolsActivePort"))
    finally:
        process.terminate()
        process.wait()


def _address(port_file: Path) -> str:
    """Wait for the browser's port, and return the address of its first page."""
    end = time.monotonic() + START
    while not (port_file.is_file() and port_file.read_text().count("\n")):
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.05)
    port, path = port_file.read_text().split("\n")[:2]
    whole = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=START)
    whole.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
    targets = json.loads(whole.recv())["result"]["targetInfos"]
    whole.close()
    target = next(each["targetId"] for each in targets if each["type"] == "page")
    return f"ws://127.0.0.1:{port}/devtools/page/{target}"
