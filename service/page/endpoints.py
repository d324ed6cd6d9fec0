"""The addresses of the page. All of its views are one document, which reads the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response

from elasticnas.service.http.etags import etag_of, matches
from elasticnas.service.http.problems import not_found
from elasticnas.service.page.assets import Asset, assets

router = APIRouter(include_in_schema=False)

VIEWS = (
    "/",
    "/searches/new",
    "/searches/{search}",
    "/searches/{search}/subnets/{number}",
    "/searches/{search}/compare",
    "/supernets",
    "/supernets/{supernet}",
    "/datasets",
    "/datasets/{dataset}",
    "/workers",
    "/jobs",
    "/jobs/{job}",
    "/docs",
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
FOR_GOOD = "public, max-age=31536000, immutable"
Encoding = Annotated[str, Header(alias="Accept-Encoding")]


async def read_view(
    if_none_match: Annotated[str | None, Header()] = None, accept_encoding: Encoding = ""
) -> Response:
    """The document of every view."""
    found = assets()
    etag = etag_of(found.base)
    if matches(if_none_match, etag):
        return Response(status_code=304, headers={"Cache-Control": "no-cache", "ETag": etag})
    answer = _sent(found.document, accept_encoding, "no-cache")
    answer.headers["ETag"] = etag
    return answer


for path in VIEWS:
    router.add_api_route(path, read_view, methods=["GET"])


@router.get("/page/{digest}/{name:path}")
async def read_file(digest: str, name: str, accept_encoding: Encoding = "") -> Response:
    """A file of the page. The digest is of all files: one of another version is not to be had."""
    found = assets()
    if f"/page/{digest}" != found.base or name not in found.files:
        raise not_found("file of the page", name)
    return _sent(found.files[name], accept_encoding, FOR_GOOD)


def _sent(asset: Asset, accept_encoding: str, cached: str) -> Response:
    """A file as the browser takes it."""
    headers = {"Cache-Control": cached, "Vary": "Accept-Encoding"} | SECURITY
    if "gzip" not in accept_encoding.lower():
        return Response(asset.body, media_type=asset.media_type, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(asset.compressed, media_type=asset.media_type, headers=headers)
