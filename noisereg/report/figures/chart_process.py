"""The chart library in a process of its own: where it aborts, as it does when memory is short, no more than a figure
is lost.

Run as a script, this file is that process: it reads requests from its standard input and answers on its standard
output, and loads nothing of noisereg.
"""

import atexit
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Timer
from typing import IO, Any

_LENGTH = struct.Struct(">?Q")  # of an answer: whether it is the result or a fault, and how many bytes follow
_LONGEST = 120.0  # seconds that a figure may take
_WARM = "warm"  # a request without an answer
_USUAL: dict[str, Any] = {  # has what most figures have: the library compiles its parts as they are first used
    "data": {"values": "x,y,p\n0,1,0\n1,2,0.2\n", "format": {"type": "csv"}},
    "encoding": {"color": {"field": "p"}, **{at: {"field": at, "type": "quantitative"} for at in ("x", "y")}},
    "layer": [{"mark": mark} for mark in ("area", "line", "circle", "rule")],
}
USUAL = {"vconcat": [{"hconcat": [_USUAL]}]}


class DrawingError(ValueError):
    """A figure that the chart library cannot draw, or that it ended its process over."""


class ChartProcess:
    """The chart library in a process that is started when it is first needed, and again after it has died.

    Args:
        longest: seconds that an answer may take.

    Example:
        >>> CHARTS.ask("svg", {"mark": "point", "data": {"values": [{}]}})[:4]
        b'<svg'
    """

    def __init__(self, longest: float = _LONGEST) -> None:
        self._longest, self._lock = longest, Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, what: str, given: Any) -> bytes:
        """Return what the library makes of something.

        Args:
            what: svg: of a specification of Vega-Lite; png, pdf and print: of the text of an SVG, png with two dots a
                pixel and print a PNG of 300 dots an inch; script: of a JavaScript snippet, with Vega.
            given: the specification, the text or the snippet.

        Raises:
            DrawingError: if the library refuses it, takes too long, or ends its process.
        """
        with self._lock:
            process = self._running()
            watch = Timer(self._longest, process.kill)
            watch.start()
            try:
                _send(process.stdin, True, json.dumps([what, given]).encode())
                is_result, answer = _receive(process.stdout)
            except (OSError, EOFError):
                self.close()
                code = process.returncode
                end = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise DrawingError(f"the chart library ended its process ({end})") from None
            finally:
                watch.cancel()
        if not is_result:
            raise DrawingError(" ".join(answer.decode(errors="replace").split())[:500])
        return answer

    def start(self) -> None:
        """Start the process if there is none, and let it load what draws, so that a first figure does not wait for it.

        A library that cannot do that tells so when it is asked for a figure.
        """
        with self._lock:
            if self._process is None:
                try:
                    _send(self._running().stdin, True, json.dumps([_WARM, None]).encode())
                except OSError:
                    self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            # -P: the folder of this file is none to import from
            command = [sys.executable, "-P", __file__]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            atexit.register(self.close)
        return self._process


CHARTS = ChartProcess()


def _send(file: IO[bytes] | None, is_result: bool, content: bytes) -> None:
    if file is not None:
        file.write(_LENGTH.pack(is_result, len(content)) + content)
        file.flush()


def _receive(file: IO[bytes] | None) -> tuple[bool, bytes]:
    head = file.read(_LENGTH.size) if file is not None else b""
    if file is None or len(head) < _LENGTH.size:
        raise EOFError
    is_result, length = _LENGTH.unpack(head)
    content = file.read(length)
    if len(content) < length:
        raise EOFError
    return is_result, content


def _answer_requests() -> None:
    import vl_convert  # noqa: PLC0415 - not in the process that asks

    make: dict[str, Callable[[Any], bytes]] = {
        "svg": lambda given: vl_convert.vegalite_to_svg(given).encode(),
        "png": lambda given: vl_convert.svg_to_png(given, scale=2),  # to the byte what the specification would give
        "pdf": vl_convert.svg_to_pdf,
        "print": lambda given: vl_convert.svg_to_png(given, scale=300 / 72),  # whose dots are points
        "script": lambda given: vl_convert.javascript_bundle(given).encode(),
    }
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints is no answer
    while True:
        try:
            _, request = _receive(sys.stdin.buffer)
        except EOFError:
            return
        what, given = json.loads(request)
        if what == _WARM:
            with suppress(Exception):
                make["svg"](USUAL)
            continue
        try:
            result = make[what](given)
        except Exception as error:
            _send(answers, False, str(error).encode(errors="replace"))
        else:
            _send(answers, True, result)


if __name__ == "__main__":
    _answer_requests()
