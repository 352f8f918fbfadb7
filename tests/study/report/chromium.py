"""A small driver of headless Chromium: the DevTools protocol over two pipes, without further packages."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """The program, by ``$OAHIER_CHROMIUM`` or on the path."""
    return os.environ.get("OAHIER_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """An open page. Messages of its console, exceptions and requests are kept."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._buffer = to_browser, from_browser, b""
        self._number, self._session = 0, ""
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.loaded = False

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        number = self._number
        while True:
            answer = self._receive(120)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {seconds} s")
            part = os.read(self._from, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.problems.append(str([item.get("value") for item in parameters["args"]]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, path: Path, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Load a file and wait until it has loaded."""
        if not self._session:
            target = self._send("Target.createTarget", url="about:blank")["targetId"]
            attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._send(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", features=scheme)
        self._send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        self.loaded = False
        self._send("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self._receive(120)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        answer = self._send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description"))
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {script}; problems: {self.problems}")
            time.sleep(0.1)

    def screenshot(self, path: Path, *, whole: bool = False, clip: dict[str, float] | None = None) -> Path:
        """A picture of what is seen, of the whole page, or of a part of it."""
        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole or clip is not None}
        if clip is not None:
            options["clip"] = {**clip, "scale": 1}
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", **options)["data"]))
        return path


def webgl_missing(page: Page, folder: Path) -> str:
    """Why this browser draws nothing in WebGL 2 on this machine; empty where it does."""
    (folder / "blank.html").write_text("<!DOCTYPE html><title>blank</title>")
    page.open(folder / "blank.html")
    if page.run("Boolean(document.createElement('canvas').getContext('webgl2'))"):
        page.problems.clear()
        page.requests.clear()
        return ""
    version = page._send("Browser.getVersion")["product"]
    return f"{version} starts no WebGL 2 on this machine, not even in software"


@contextlib.contextmanager
def chromium(profile: Path, *, webgl: bool = False) -> Iterator[Page]:
    """A browser with one page; ends with the block. On request with WebGL 2, computed by the processor.

    Raises:
        FileNotFoundError: there is no Chromium.
    """
    program = find_chromium()
    if program is None:
        raise FileNotFoundError(f"no Chromium; looked for {', '.join(NAMES)}")
    read_end, to_browser = os.pipe()
    from_browser, write_end = os.pipe()
    graphics = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"] if webgl else ["--disable-gpu"]
    command = [
        program, "--headless=new", "--no-sandbox", *graphics, "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--hide-scrollbars",
        "--remote-debugging-pipe", f"--user-data-dir={profile}",
    ]  # fmt: skip
    # the protocol uses descriptors 3 and 4
    start = ["/bin/bash", "-c", f'exec "$@" 3<&{read_end} 4>&{write_end}', "chromium", *command]
    with subprocess.Popen(
        start, pass_fds=(read_end, write_end), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(read_end)
        os.close(write_end)
        try:
            yield Page(to_browser, from_browser)
        finally:
            os.close(to_browser)
            os.close(from_browser)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
