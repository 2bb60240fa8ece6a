"""A server on this machine that answers as W&B does, as far as `wandb sync` and the dashboard ask."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "k" * 40
_OWNER = {"id": "E", "name": "me"}
_VIEWER = {"id": "U", "username": "me", "entity": "me", "flags": "{}", "email": "", "teams": {"edges": []}}


class WandbServer(ThreadingHTTPServer):
    """What it was told.

    Attributes:
        history: rows of each run, in the places where they were put.
        views: workspaces that were saved.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.views: list[dict[str, Any]] = []

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead W&B here."""
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_port}", "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def put(self, run: str, *, offset: int, rows: list[str]) -> None:
        """Store rows of a run in their places."""
        self.history.setdefault(run, [])[offset : offset + len(rows)] = map(json.loads, rows)

    def answer(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        """Answer a question."""
        project = {"id": "P", "name": values.get("projectName") or values.get("project"), "entity": _OWNER}
        rows = self.history.get(values.get("name", ""), [])
        bucket = {"id": "R", "name": values.get("name"), "project": project, "historyLineCount": len(rows)}
        if "upsertView" in query:
            self.views.append(values)
            return {"upsertView": {"view": {"id": "V", "name": values["name"]}, "inserted": True}}
        if "upsertBucket" in query:
            return {"upsertBucket": {"bucket": bucket, "inserted": not rows}}
        if "RunResumeStatus" in query:
            tails = {"historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]), "eventsTail": "[]"}
            known = {"summaryMetrics": "{}", "config": "{}", "logLineCount": 0, "eventsLineCount": 0, **tails}
            return {"model": {**project, "bucket": {**bucket, **known} if rows else None}}
        if "createRunFiles" in query:
            return {"createRunFiles": {"runID": "R", "uploadHeaders": [], "files": []}}
        return {"viewer": _VIEWER, "serverInfo": {"features": []}}


class _Answers(BaseHTTPRequestHandler):
    server: WandbServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        if self.path.endswith("file_stream"):
            if rows := asked.get("files", {}).get("wandb-history.jsonl"):
                self.server.put(self.path.split("/")[-2], offset=rows["offset"], rows=rows["content"])
            answer: dict[str, Any] = {}
        else:
            answer = {"data": self.server.answer(asked["query"], asked.get("variables") or {})}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Serve while the `with` block lasts."""
    with WandbServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
