"""Firefox by WebDriver BiDi, the protocol that it brings: no driver has to be installed.

Reference:
    WebDriver BiDi, W3C, https://www.w3.org/TR/webdriver-bidi/
"""

import contextlib
import itertools
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

PREFERENCES = {
    # Whatever a page or the browser itself asks of a network ends at a port where nobody listens.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
}


class Firefox:
    """A page in Firefox.

    Attributes:
        wrong: Errors of pages, and addresses outside `inside` that were refused.
    """

    def __init__(self, socket_: websocket.WebSocket, inside: str) -> None:
        self.socket, self.inside = socket_, inside
        self.wrong: list[str] = []
        self._numbers = itertools.count()
        self._send("session.new", capabilities={})
        events = ["network.beforeRequestSent", "log.entryAdded"]
        self._send("session.subscribe", events=events)
        self._send("network.addIntercept", phases=["beforeRequestSent"])
        self.page = ""

    def open(self, address: str) -> None:
        """Loads a page in a new tab; the one before is closed."""
        last, self.page = self.page, self._send("browsingContext.create", type="tab")["context"]
        if last:
            self._send("browsingContext.close", context=last)
        self.wrong.clear()
        self._send("browsingContext.navigate", context=self.page, url=address, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """What an expression gives, or a promise of it."""
        result = self._send(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self.page},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] == "exception":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"].get("value", "null"))

    def _post(self, method: str, **params: Any) -> int:
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return number

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        number = self._post(method, **params)
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if message["type"] == "error":
                    raise RuntimeError(f"{method}: {message['message']}")
                return message["result"]
            if message["type"] == "event":
                self._happened(message["method"], message["params"])

    def _happened(self, event: str, params: dict[str, Any]) -> None:
        if event == "log.entryAdded" and params["level"] == "error":
            self.wrong.append(f"error: {params['text']}")
        elif event == "network.beforeRequestSent":
            address = params["request"]["url"]
            if not params["isBlocked"]:
                return
            if address.startswith((self.inside, "data:", "blob:", "about:")):
                self._post("network.continueRequest", request=params["request"]["request"])
            else:
                self.wrong.append(f"asks for {address}")
                self._post("network.failRequest", request=params["request"]["request"])


@contextlib.contextmanager
def firefox(program: str, profile: Path, inside: str) -> Iterator[Firefox]:
    """A Firefox without a window, with every request refused that does not stay below `inside`."""
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    profile.joinpath("user.js").write_text("\n".join(lines))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--headless", "--no-remote", "--profile", str(profile)]
    with profile.joinpath("log.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--remote-debugging-port={port}"], stdout=log, stderr=log
        )
    try:
        yield Firefox(_connected(port, process), inside)
    finally:
        process.terminate()
        process.wait(30)


def _connected(port: int, process: subprocess.Popen) -> websocket.WebSocket:
    for _ in range(240):
        assert process.poll() is None, "Firefox did not start"
        with contextlib.suppress(ConnectionError, websocket.WebSocketException):
            # Without an origin, which Firefox would ask to be allowed.
            return websocket.create_connection(
                f"ws://127.0.0.1:{port}/session", timeout=300, suppress_origin=True
            )
        time.sleep(0.25)
    raise TimeoutError("Firefox did not open its port")
