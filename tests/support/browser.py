"""A headless browser, controlled over a pipe by the DevTools protocol: no driver, no port, no network."""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next((path for name in NAMES if (path := shutil.which(name))), None)
# The sandbox does not work for root; no network requests of the browser's own; containers have little shared memory.
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """One page of a browser; requested: all addresses that it requested."""

    def __init__(self, profile):
        read_in, self._to_browser = os.pipe()
        self._from_browser, write_out = os.pipe()
        # The protocol needs its pipes as the descriptors 3 and 4 of the browser; here those may be in use.
        passed = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (read_in, write_out)]
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        command = ["bash", "-c", script, "browser", *map(str, passed), EXECUTABLE, *_ARGUMENTS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=passed,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for fd in (read_in, write_out, *passed):
            os.close(fd)
        self._buffer, self._number, self._session, self.requested = b"", 0, None, []
        self._loaded = False
        [target] = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to_browser)
        os.close(self._from_browser)

    def show(self, address, *, width, height=900):
        """Load an address in a window of this size in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.requested, self._loaded = [], False
        assert "errorText" not in self._call("Page.navigate", url=address), address
        while not self._loaded:
            self._receive()

    def evaluate(self, script):
        """Return the value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self):
        """Return the whole page as a PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self):
        """Return the printed page as a PDF, with the paper size that the page requests."""
        return base64.b64decode(self._call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def _call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            data = os.read(self._from_browser, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        self._loaded = self._loaded or message.get("method") == "Page.loadEventFired"
        return message
