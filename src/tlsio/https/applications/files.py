"""A folder of files: Starlette's static files, with compressed variants, and stricter.

Starlette's `StaticFiles` finds the file, judges its validators and sends it, whole or in ranges.
Added here are: the choice of a variant that is compressed already (`app.js.br` next to `app.js`),
types that do not depend on the machine, no files whose names begin with a dot, and ranges as
RFC 9110 has them. Its errors, which a framework would answer, are answered here.
"""

from __future__ import annotations

import asyncio
import errno
import html
import mimetypes
import os
import re
import stat
from email.utils import parsedate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from tlsio.model.checks import check_bool, check_path
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tlsio.https.asgi import Message, Receive, Scope, Send

__all__ = ["Files"]

_ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the better one first
_WELL_KNOWN = ".well-known"  # RFC 8615
_INDEX, _NOT_FOUND_PAGE = "index.html", "404.html"

# Python's table without the machine's own, which differs from one machine to the next; and what
# the table lacks, or has otherwise, in the versions of Python that we support.
_TABLE = mimetypes.MimeTypes(filenames=())
_TYPES = {
    ".avif": "image/avif",
    ".js": "text/javascript",  # RFC 9239
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".otf": "font/otf",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_UNKNOWN = "application/octet-stream"
_CHUNK = 262144  # bytes of a larger file that one call of a thread reads, as in aiohttp
_SMALL = 65536  # bytes that are read at once: Starlette's chunk

_QUALITY = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)  # RFC 9110, section 12.4.2
_BARELY = 0.0001  # less than any quality that can be written
_RANGES = re.compile(rb"bytes=([\d, \t-]{1,2048})", re.IGNORECASE)  # Starlette takes 100 at most
_RANGE = re.compile(rb"(\d{0,19})-(\d{0,19})")


class Files(StaticFiles):
    """An application that serves a folder to anyone."""

    def __init__(self, folder: str | os.PathLike[str], *, listing: bool = False, follow_symlinks: bool = False) -> None:
        """Serve a folder.

        `index.html` stands for its folder, and `404.html`, if there is one, for what is not there.

        Args:
            folder: It must exist.
            listing: List the files of a folder that has no `index.html`.
            follow_symlinks: Serve what symbolic links to places outside the folder lead to.

        Raises:
            ConfigError: there is no such folder (`ERR_HTTPS_APP`).
            UsageError: `folder` is not a path, or an option is neither True nor False.
        """
        check_path("folder", folder)
        check_bool("listing", listing)
        check_bool("follow_symlinks", follow_symlinks)
        if not Path(folder).is_dir():
            name = repr(os.fspath(folder))
            problem = f"{name} is not a folder" if Path(folder).exists() else f"The folder {name} does not exist"
            hint = f"Relative paths begin at {Path.cwd()}."
            if (module := Path(folder).with_suffix(".py")).is_file():
                hint = f"An application is written MODULE:NAME, such as {module.stem}:app."
            raise ConfigError(problem, code="ERR_HTTPS_APP", hint=hint)
        super().__init__(directory=folder, html=True, follow_symlink=follow_symlinks)
        self._listing = listing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        scope = _with_bytes(scope)
        try:
            response = await self.get_response(self.get_path(scope), scope)
        except HTTPException as error:
            response = PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        if isinstance(response, FileResponse):
            response.chunk_size = _CHUNK
            scope = {**scope, "headers": _with_valid_range(scope, response)}
            send = _limited(send)
        await response(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the response for a path below the folder.

        Raises:
            HTTPException: there is no such file, it cannot be read, or the method is another one.
        """
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"allow": "GET, HEAD"})
        try:
            return await asyncio.to_thread(self._find, path, scope)
        except PermissionError:
            raise HTTPException(403) from None

    def _find(self, path: str, scope: Scope) -> Response:
        full, facts = ("", None) if _is_hidden(path) else self.lookup_path(path)
        is_folder_url = scope["path"].endswith("/")
        if facts is not None and stat.S_ISREG(facts.st_mode) and not is_folder_url:
            return self.file_response(full, facts, scope)
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            index, index_facts = self.lookup_path(f"{path}/{_INDEX}")
            if index_facts is not None and stat.S_ISREG(index_facts.st_mode):
                return self.file_response(index, index_facts, scope) if is_folder_url else _redirect_to_folder(scope)
            if self._listing:
                return self._list(path, full, scope) if is_folder_url else _redirect_to_folder(scope)
        page, page_facts = self.lookup_path(_NOT_FOUND_PAGE)
        if page_facts is not None and stat.S_ISREG(page_facts.st_mode):
            return FileResponse(page, 404, media_type=_type_of(page), stat_result=page_facts)
        raise HTTPException(404)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return the file of a path and its facts; None if there is none.

        Raises:
            PermissionError: it cannot be read.
        """
        try:
            full, facts = super().lookup_path(path)
        except ValueError:  # a null character
            return "", None
        except OSError as error:
            if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
                return "", None
            raise
        if facts is not None and not os.access(full, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), full)
        return full, facts

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file, a variant that the client prefers, or "not modified"."""
        path, headers = os.fspath(full_path), Headers(scope=scope)
        variants = {coding: facts for coding, ending in _ENCODINGS.items() if (facts := self._variant(path + ending)) is not None}
        chosen = _choose(headers.getlist("accept-encoding"), variants)
        ending, facts = (_ENCODINGS[chosen], variants[chosen]) if chosen else ("", stat_result)
        response = FileResponse(path + ending, status_code, media_type=_type_of(path), stat_result=facts)
        if chosen:
            response.headers["content-encoding"] = chosen
            response.headers["etag"] = f'{response.headers["etag"][:-1]}-{chosen}"'
        if variants:
            response.headers["vary"] = "accept-encoding"
        if _is_another(response.headers, headers):
            raise HTTPException(412)
        if self.is_not_modified(response.headers, headers):
            return NotModifiedResponse(response.headers)
        is_small = facts.st_size <= _SMALL and scope["method"] == "GET" and "range" not in headers
        return _read(response) if is_small else response

    def _variant(self, path: str) -> os.stat_result | None:
        try:
            facts = Path(path).stat(follow_symlinks=self.follow_symlink)
        except OSError:
            return None
        return facts if stat.S_ISREG(facts.st_mode) and os.access(path, os.R_OK) else None

    def _list(self, path: str, full: str, scope: Scope) -> Response:
        items = [] if path == "." else ['<li><a href="../">../</a></li>']
        for name in sorted(one.name for one in Path(full).iterdir()):
            if name.startswith("."):
                continue
            try:
                _, facts = self.lookup_path(f"{path}/{name}")
            except PermissionError:
                continue
            if facts is not None:
                slash = "/" if stat.S_ISDIR(facts.st_mode) else ""
                shown = _printed(name + slash)
                items.append(f'<li><a href="./{quote(os.fsencode(name))}{slash}">{shown}</a></li>')
        title = _printed(scope["path"])
        return HTMLResponse(
            f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n<h1>{title}</h1>\n'
            f"<ul>\n{chr(10).join(items)}\n</ul>\n</html>\n"
        )


def _with_bytes(scope: Scope) -> Scope:
    """Return a scope whose path has the bytes that are not UTF-8, as names of files have them."""
    if "\ufffd" not in scope["path"] or not scope.get("raw_path"):
        return scope
    return {**scope, "path": unquote(scope["raw_path"].decode("ascii"), errors="surrogateescape")}


def _printed(name: str) -> str:
    return html.escape(os.fsencode(name).decode("utf-8", "replace"))


def _is_another(facts: Headers, asked: Headers) -> bool:
    """Whether a request is for another state of the file, such as the rest of a download.

    RFC 9110, section 13.1.1: "An origin server that evaluates an If-Match condition MUST NOT
    perform the requested method if the condition evaluates to false". Section 13.2.2 has the order.
    """
    if tags := asked.getlist("if-match"):
        return not {"*", facts["etag"]} & {tag.strip() for tag in ",".join(tags).split(",")}
    limit, changed = parsedate(asked.get("if-unmodified-since", "")), parsedate(facts["last-modified"])
    return limit is not None and changed is not None and changed > limit


def _read(response: FileResponse) -> Response:
    """Return the response with its content, which costs no further call of a thread."""
    content = Path(response.path).read_bytes()
    whole = Response(content, response.status_code)
    response.headers["content-length"] = str(len(content))
    whole.raw_headers = response.raw_headers
    return whole


def _limited(send: Send) -> Send:
    """Return a `send` that sends no more than content-length, although the file may grow."""
    left = 0

    async def send_limited(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            left = int(dict(message["headers"])[b"content-length"])
        else:
            message = {**message, "body": message["body"][:left]}
            left -= len(message["body"])
        await send(message)

    return send_limited


def _is_hidden(path: str) -> bool:
    """Whether a name begins with a dot: `.git` is not for visitors, and `..` leads out."""
    first, *rest = path.split("/")
    return (first not in {".", _WELL_KNOWN} and first.startswith(".")) or any(name.startswith(".") for name in rest)


def _redirect_to_folder(scope: Scope) -> Response:
    """Redirect by a relative URL, which leads to no other host, whatever the path is."""
    name = scope["path"].rpartition("/")[2]
    query = scope["query_string"].decode("latin-1")
    return RedirectResponse(f"./{quote(os.fsencode(name))}/{'?' if query else ''}{query}")


def _type_of(path: str) -> str:
    own = _TYPES.get(PurePosixPath(path).suffix.lower())
    kind, packed = (own, None) if own else _TABLE.guess_type(path)
    return _PACKED.get(packed, _UNKNOWN) if packed else kind or _UNKNOWN


def _choose(fields: Sequence[str], variants: Collection[str]) -> str | None:
    """Return the encoding that the client prefers, by RFC 9110, section 12.5.3; None: as it is.

    Of equal ones, the first of `_ENCODINGS` is taken, and then what is compressed.
    """
    qualities: dict[str, float] = {}
    for item in ",".join(fields).lower().split(","):
        coding, _, parameter = (part.strip() for part in item.partition(";"))
        found = _QUALITY.fullmatch(parameter)
        qualities[coding] = float(found[1]) if found else 0.0 if parameter else 1.0
    others = qualities.get("*", 0.0)
    best, quality = None, qualities.get("identity", others or _BARELY)
    for coding in _ENCODINGS:
        offered = qualities.get(coding, others)
        if coding in variants and offered > 0 and (offered > quality or (best is None and offered == quality)):
            best, quality = coding, offered
    return best


def _with_valid_range(scope: Scope, response: FileResponse) -> list[tuple[bytes, bytes]]:
    """Return a request's headers, without a `Range` that RFC 9110 has a server ignore.

    Starlette answers it with 400, and with 416 if one of several ranges is beyond the end.

    Section 14.2: "A server MUST ignore a Range header field received with a request method that is
    unrecognized or for which range handling is not defined", which is so for all but GET. "An
    origin server MUST ignore a Range header field that contains a range unit it does not
    understand."
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    given = [value for name, value in headers if name == b"range"]
    if not given:
        return headers
    others = [one for one in headers if one[0] != b"range"]
    size = response.stat_result.st_size if response.stat_result else 0
    ranges = _read_ranges(given[0], size) if len(given) == 1 and scope["method"] == "GET" else None
    return others if ranges is None else [*others, (b"range", ranges)]


def _read_ranges(value: bytes, size: int) -> bytes | None:
    """Return the ranges that lie within a file, or all if none does; None if they are invalid."""
    found = _RANGES.fullmatch(value.strip())
    if found is None:
        return None
    within: list[bytes] = []
    beyond: list[bytes] = []
    for text in found[1].split(b","):
        one = _RANGE.fullmatch(text.strip())
        if one is None or text.strip() == b"-" or (one[1] and one[2] and int(one[2]) < int(one[1])):
            return None
        is_within = int(one[1]) < size if one[1] else int(one[2]) > 0 and size > 0
        (within if is_within else beyond).append(one[0])
    return b"bytes=" + b",".join(within or beyond)
