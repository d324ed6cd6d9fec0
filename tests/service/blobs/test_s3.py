"""Blobs in S3: what only a bucket can get wrong."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.blobs import BlobSettings, make_blobs
from elasticnas.service.blobs.s3 import S3Blobs
from elasticnas.service.blobs.s3_opening import create_bucket
from elasticnas.service.blobs.store import StoreUnavailableError
from tests.s3 import Moto, S3Server
from tests.service.blobs.conftest import Bench, s3_bench, soon

PARTS = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)


def opened(**settings: str) -> None:
    make_blobs(BlobSettings(blobs_region="us-east-1", **settings))


@pytest.mark.parametrize("url", ["http://bucket", "s3:bucket", "s3://", "s3://A_b", "/srv/blobs"])
def test_a_url_that_names_no_bucket_is_refused(url):
    with pytest.raises(InputError, match=r"blobs_url: .*found.*ELASTICNAS_BLOBS_URL"):
        opened(blobs_url=url)


def test_a_bucket_that_does_not_exist_is_refused(s3: S3Server):
    with pytest.raises(InputError, match=r"no bucket nose \(found s3://nose/x\); create it"):
        opened(blobs_url="s3://nose/x", blobs_endpoint_url=s3.url)


def test_a_bucket_is_created_once(s3: S3Server):
    wanted = BlobSettings(
        blobs_url=f"s3://{s3.bucket()}-more/x",
        blobs_endpoint_url=s3.url,
        blobs_region="eu-west-1",
    )
    bucket, is_new = create_bucket(wanted)
    assert is_new
    assert create_bucket(wanted) == (bucket, False)
    make_blobs(wanted)


@pytest.mark.usefixtures("credentials")
def test_an_endpoint_that_does_not_answer_is_refused():
    with pytest.raises(InputError, match=r"blobs_endpoint_url: .*ELASTICNAS_BLOBS_ENDPOINT_URL"):
        opened(blobs_url="s3://bucket", blobs_endpoint_url="http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"blobs_endpoint_url: .*found nose"):
        opened(blobs_url="s3://bucket", blobs_endpoint_url="nose")


def test_refused_credentials_are_told(s3: S3Server, monkeypatch):
    bucket = s3.bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    if isinstance(s3, Moto):
        s3.demand_known_credentials(demand=True)
    try:
        with pytest.raises(InputError, match=r"refuses access.*AWS_ACCESS_KEY_ID"):
            opened(blobs_url=f"s3://{bucket}", blobs_endpoint_url=s3.url)
    finally:
        if isinstance(s3, Moto):
            s3.demand_known_credentials(demand=False)


def test_missing_credentials_are_told(s3: S3Server, monkeypatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no credentials.*AWS_PROFILE"):
        opened(blobs_url="s3://bucket", blobs_endpoint_url=s3.url)


def test_a_large_file_goes_and_comes_in_parts(on_s3: Bench, monkeypatch):
    monkeypatch.setattr("elasticnas.service.blobs.s3.TRANSFER", PARTS)
    content = os.urandom(12 << 20)
    digest = on_s3.put(content)
    head = on_s3.client.head_object(Bucket=on_s3.bucket, Key=f"nas/blobs/{digest}")
    assert head["ETag"].strip('"').endswith("-3")
    with on_s3.store.lease(digest) as found:
        assert found.read_bytes() == content
    monkeypatch.setattr("elasticnas.service.blobs.s3.YOUNG", timedelta(0))
    time.sleep(1.1)
    assert on_s3.put(content) == digest  # made young by a copy in parts
    with on_s3.again().lease(digest) as found:
        assert found.read_bytes() == content


def test_content_that_is_there_is_not_sent_again(on_s3: Bench, monkeypatch):
    digest = on_s3.put("sent once")
    assert isinstance(on_s3.store, S3Blobs)
    monkeypatch.setattr(on_s3.store._client, "upload_file", None)
    assert on_s3.put("sent once") == digest


def test_an_upload_that_was_killed_is_invisible_and_cleared_away(on_s3: Bench):
    key = "nas/blobs/" + "ab" * 32
    started = on_s3.client.create_multipart_upload(Bucket=on_s3.bucket, Key=key)
    on_s3.client.upload_part(
        Bucket=on_s3.bucket, Key=key, UploadId=started["UploadId"], PartNumber=1, Body=b"half"
    )
    on_s3.client.put_object(Bucket=on_s3.bucket, Key=f"nas/collecting/{'ab' * 32}/1", Body=b"")
    assert not on_s3.store.exists("ab" * 32)
    on_s3.store.discard_unfinished(datetime(2001, 1, 1, tzinfo=UTC))
    assert on_s3.client.list_multipart_uploads(Bucket=on_s3.bucket).get("Uploads")
    assert on_s3.names() == ["1"]
    on_s3.store.discard_unfinished(soon())
    assert not on_s3.client.list_multipart_uploads(Bucket=on_s3.bucket).get("Uploads")
    assert on_s3.names() == []


def test_what_is_stored_while_a_collector_deletes_it_is_stored_again(on_s3: Bench, monkeypatch):
    """The worst moment: the collector has seen the old age, then the content is stored again."""
    digest = on_s3.put("the same")
    collector, uploader = on_s3.store, on_s3.again()
    assert isinstance(collector, S3Blobs)
    assert isinstance(uploader, S3Blobs)
    waiting, threads = threading.Event(), []
    head, wait = collector._head, uploader._wait_for_collectors

    def tell_and_wait(found: str) -> None:
        waiting.set()
        wait(found)

    def store_meanwhile(found: str):
        seen = head(found)
        path = on_s3.file("the same", "again")
        threads.append(threading.Thread(target=lambda: uploader.store(path)))
        threads[0].start()
        assert waiting.wait(timeout=10)
        return seen

    monkeypatch.setattr(uploader, "_wait_for_collectors", tell_and_wait)
    monkeypatch.setattr(collector, "_head", store_meanwhile)
    assert collector.discard(digest, soon())
    threads[0].join()
    assert on_s3.names() == [digest]


def test_a_claim_that_nobody_withdraws_is_waited_for_but_not_for_ever(on_s3: Bench, monkeypatch):
    monkeypatch.setattr("elasticnas.service.blobs.s3.CLAIM_SECONDS", 0.5)
    digest = on_s3.put("claimed")
    on_s3.client.put_object(Bucket=on_s3.bucket, Key=f"nas/collecting/{digest}/1", Body=b"")
    start = time.monotonic()
    assert on_s3.put("claimed") == digest
    assert 0.5 <= time.monotonic() - start < 5


@pytest.mark.usefixtures("credentials")
def test_a_blob_in_the_cache_is_read_without_the_store_and_the_others_are_not(tmp_path: Path):
    server = Moto().start()
    try:
        bench = s3_bench(server, tmp_path)
        cached, absent = bench.put("cached"), bench.put("absent")
        with bench.store.lease(cached):
            pass
    finally:
        server.kill()
    with bench.store.lease(cached) as found:
        assert found.read_text() == "cached"
    start = time.monotonic()
    with (
        pytest.raises(StoreUnavailableError, match=f"s3://{bench.bucket}/nas cannot be used"),
        bench.store.lease(absent),
    ):
        pass
    assert time.monotonic() - start < 30
