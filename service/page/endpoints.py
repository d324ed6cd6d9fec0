"""The addresses of the page. All of its views are one document, which reads the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response

from elasticnas.service.http.etags import etag_of, matches
from elasticnas.service.http.problems import not_found
from elasticnas.service.page.assets import MEDIA_TYPES, assets

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


async def read_view(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The document of every view."""
    found = assets()
    headers = {"Cache-Control": "no-cache", "ETag": etag_of(found.base)} | SECURITY
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(found.document, media_type=MEDIA_TYPES[".html"], headers=headers)


for path in VIEWS:
    router.add_api_route(path, read_view, methods=["GET"])


@router.get("/page/{digest}/{name:path}")
async def read_file(
    digest: str, name: str, accept_encoding: Annotated[str, Header()] = ""
) -> Response:
    """A file of the page. The digest is of all files: one of another version is not to be had."""
    found = assets()
    if f"/page/{digest}" != found.base or name not in found.files:
        raise not_found("file of the page", name)
    asset = found.files[name]
    headers = {"Cache-Control": FOR_GOOD, "Vary": "Accept-Encoding"} | SECURITY
    if "gzip" not in accept_encoding.lower():
        return Response(asset.body, media_type=asset.media_type, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(asset.compressed, media_type=asset.media_type, headers=headers)
