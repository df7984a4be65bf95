"""The archive over HTTP: whole files, the rest of one (``Range``), and the ways in which that fails."""

import re

from aiohttp import web

from crypto_quant.sim.archive import Archive, ArchiveFlaws, checksum

_RANGE = re.compile(r"bytes=(\d{1,18})-", re.ASCII)


async def serve_archive(request: web.Request, archive: Archive, flaws: ArchiveFlaws) -> web.StreamResponse:
    """Answer a GET below ``/data/``."""
    path = request.path
    wants_checksum = path.endswith(".CHECKSUM")
    path = path.removesuffix(".CHECKSUM")
    name = path.rpartition("/")[2]
    zipped = None if flaws.strikes("missing", name) else archive.file(path, flaws.content(name))
    if zipped is None:
        return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml")
    if wants_checksum:
        line = checksum(name, zipped)
        if flaws.strikes("checksum", name):
            line = checksum(name, zipped + b"!")
        return web.Response(body=line, content_type="binary/octet-stream")
    if flaws.strikes("truncated", name):
        zipped = zipped[: len(zipped) // 2]
    return await _send(request, zipped, cut=flaws.strikes("cut", name))


async def _send(request: web.Request, zipped: bytes, *, cut: bool) -> web.StreamResponse:
    begin = 0
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    headers = {"Accept-Ranges": "bytes"}
    if asked:
        begin = int(asked[1])
        if begin >= len(zipped):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(zipped)}"})
        headers["Content-Range"] = f"bytes {begin}-{len(zipped) - 1}/{len(zipped)}"
    body = zipped[begin:]
    answer = web.StreamResponse(status=206 if asked else 200, headers=headers)
    answer.content_type = "application/zip"
    answer.content_length = len(body)
    await answer.prepare(request)
    if cut:
        await answer.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()  # what was written still goes out
        return answer
    await answer.write(body)
    await answer.write_eof()
    return answer
