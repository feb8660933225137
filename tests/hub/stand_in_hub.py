"""A stand-in for the Hugging Face hub: its HTTP API over loopback, with failures on demand.

What the real clients (huggingface_hub, transformers, SAELens, datasets) use is here: repository information,
file listings, ``resolve`` with HEAD, GET and ranges, etags as git and LFS compute them, large files behind a
redirect to another host.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Repository:
    """Files at one commit of ``main``."""

    files: dict[str, bytes]

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def is_large(self, name: str) -> bool:
        """Whether the file is in LFS, as weights and tables are."""
        return name.endswith((".safetensors", ".parquet", ".bin"))

    def etag(self, name: str) -> str:
        content = self.files[name]
        if self.is_large(name):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Rule:
    """A failure: what happens to the next `times` requests that match, instead of the right answer."""

    method: str
    path: str
    """Regular expression, searched in the path."""
    status: int | None = None
    """Answer with this status and nothing else."""
    code: str | None = None
    """The hub's X-Error-Code beside the status."""
    cut_at: int | None = None
    """Send so many bytes of the body, then close the connection."""
    stall: float | None = None
    """Send headers, then wait so many seconds before the body."""
    damaged: bool = False
    """Send a body of the right length with other bytes at its end."""
    shortened: bool = False
    """Send a body, and a matching Content-Length, that lack the last bytes."""
    times: int = 1_000_000


@dataclass
class StandInHub:
    """The server; `start` and `stop` it."""

    models: dict[str, Repository] = field(default_factory=dict)
    datasets: dict[str, Repository] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    """``METHOD /path`` of each request."""

    def start(self) -> None:
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, method: str, path: str, **what: Any) -> None:
        """Let requests fail; see `Rule`."""
        self.rules.append(Rule(method, path, **what))

    def heal(self) -> None:
        """No more failures; a client in another process says so with GET /_heal, and GET /_mark marks the log."""
        self.rules.clear()

    def wait(self, seconds: float) -> None:
        """Wait, but not past `stop`."""
        self._stopping.wait(seconds)

    def rule_for(self, method: str, path: str) -> Rule | None:
        for rule in self.rules:
            if rule.times > 0 and rule.method == method and re.search(rule.path, path):
                rule.times -= 1
                return rule
        return None

    def find(self, path: str, of: str) -> tuple[str, Repository, str] | None:
        """Repository whose id `path` begins with, and the rest of the path."""
        repositories = self.datasets if of == "datasets" else self.models
        for name in sorted(repositories, key=len, reverse=True):
            if path == name or path.startswith(f"{name}/"):
                return name, repositories[name], path[len(name) + 1 :]
        return None


def _handler(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._route()

        def do_HEAD(self) -> None:
            self._route()

        def do_POST(self) -> None:
            self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._route()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _route(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.log.append(f"{self.command} {path}")
            self.rule = hub.rule_for(self.command, path)
            if path == "/_heal":
                hub.heal()
                self._json({})
            elif path == "/_mark":
                self._json({})
            elif self.rule is not None and self.rule.status is not None:
                self._refuse(self.rule.status, self.rule.code)
            elif found := re.fullmatch(r"/api/(models|datasets)/(.+)", path):
                self._api(found[1], found[2])
            elif path.startswith("/cdn/"):
                _, _, kind, name, file = path.split("/", 4)
                repository = (hub.datasets if kind == "datasets" else hub.models)[name.replace("--", "/")]
                self._content(repository, file)
            else:
                of = "datasets" if path.startswith("/datasets/") else "models"
                self._resolve(of, path.removeprefix("/datasets/").removeprefix("/"))

        def _api(self, of: str, path: str) -> None:
            found = hub.find(path, of)
            if found is None:
                # 401, since the real hub does not tell missing from private. Its clients know that by the https
                # in the address; over http they need the code.
                return self._refuse(401, "RepoNotFound")
            name, repository, rest = found
            action, _, rest = rest.partition("/")
            revision, _, folder = rest.partition("/")
            if action in ("revision", "tree", "paths-info") and revision not in ("main", repository.commit):
                return self._refuse(404, "RevisionNotFound")
            if action in ("", "revision"):
                files = [{"rfilename": file} for file in repository.files]
                return self._json(
                    {
                        "id": name,
                        "sha": repository.commit,
                        "siblings": files,
                        "private": False,
                        "gated": False,
                        "tags": [],
                        "lastModified": "2024-05-01T00:00:00.000Z",
                    }
                )
            if action == "tree":
                return self._json(_listing(repository, folder))
            if action == "paths-info":
                paths = _asked_paths(self._body, self.headers.get("Content-Type", ""))
                return self._json([_entry(repository, path) for path in paths if _exists(repository, path)])
            return self._refuse(404, None)

        def _resolve(self, of: str, path: str) -> None:
            found = hub.find(path, of)
            if found is None:
                return self._refuse(401, "RepoNotFound")
            name, repository, rest = found
            action, _, rest = rest.partition("/")
            revision, _, file = rest.partition("/")
            if action != "resolve" or revision not in ("main", repository.commit):
                return self._refuse(404, "RevisionNotFound")
            if file not in repository.files:
                return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": repository.commit})
            if not repository.is_large(file):
                return self._content(repository, file)
            self.send_response(302)
            flat = name.replace("/", "--")
            self.send_header("Location", f"http://localhost:{hub.port}/cdn/{of}/{flat}/{file}")
            self.send_header("X-Repo-Commit", repository.commit)
            self.send_header("X-Linked-Etag", f'"{repository.etag(file)}"')
            self.send_header("X-Linked-Size", str(len(repository.files[file])))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def _content(self, repository: Repository, file: str) -> None:
            body = repository.files[file]
            rule = self.rule or Rule("", "")
            if rule.damaged:
                body = body[:-8] + bytes(255 - byte for byte in body[-8:])
            if rule.shortened:
                body = body[: len(body) // 2]
            status, whole = 200, len(body)
            if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
                start, end = int(found[1]), int(found[2] or whole - 1)
                body, status = body[start : end + 1], 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{whole}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{repository.etag(file)}"')
            self.send_header("X-Repo-Commit", repository.commit)
            self.end_headers()
            if self.command == "HEAD":
                return
            self._send(body, rule)

        def _send(self, body: bytes, rule: Rule) -> None:
            try:
                if rule.stall is not None:
                    self.wfile.flush()
                    hub.wait(rule.stall)
                self.wfile.write(body if rule.cut_at is None else body[: rule.cut_at])
            except OSError:
                self.close_connection = True  # the client has given up
            if rule.cut_at is not None:
                self.close_connection = True

        def _json(self, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, status: int, code: str | None, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            if code is not None:
                self.send_header("X-Error-Code", code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def _exists(repository: Repository, path: str) -> bool:
    return path in repository.files or any(name.startswith(f"{path}/") for name in repository.files)


def _entry(repository: Repository, path: str) -> dict[str, Any]:
    if path not in repository.files:
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
    size = len(repository.files[path])
    entry: dict[str, Any] = {"type": "file", "oid": "0" * 40, "size": size, "path": path}
    if repository.is_large(path):
        entry["lfs"] = {"oid": repository.etag(path), "size": size, "pointerSize": 130}
    return entry


def _listing(repository: Repository, folder: str) -> list[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    inside = [name[len(prefix) :] for name in repository.files if name.startswith(prefix)]
    return [_entry(repository, prefix + name) for name in dict.fromkeys(n.split("/")[0] for n in inside)]


def _asked_paths(body: bytes, content_type: str) -> list[str]:
    if "json" in content_type:
        paths = json.loads(body)["paths"]
        return paths if isinstance(paths, list) else [paths]
    from urllib.parse import parse_qs

    return parse_qs(body.decode()).get("paths", [])
