"""The way to a server: certificates, proxies, redirects, addresses with secrets in them."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from db.errors import UsageError
from db.settings import check_server_name, check_server_url, masked
from serving.engine.client import CompletionClient, RetryPolicy
from serving.engine.messages import (
    CompletionRequest,
    Endpoint,
    EngineUnavailable,
    RequestRefused,
    SamplingParameters,
    ServerMisconfigured,
)
from serving.engine.route import proxy_of
from tests.fakes.server import FakeServer

FAST = RetryPolicy(first_pause_s=0.001, max_pause_s=0.01)
ASK = CompletionRequest(model="fake", prompts=["How?"], sampling=SamplingParameters(max_tokens=8))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def own_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Write a certificate for 127.0.0.1 that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "q2q test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "own.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[FakeServer, Path]]:
    file, context = own_certificate(tmp_path)
    server = FakeServer(tls=context)
    server.start()
    try:
        yield server, file
    finally:
        server.stop()


async def ask(endpoint: Endpoint) -> str:
    async with CompletionClient(endpoint, timeout_s=5, retry=FAST) as client:
        return (await client.complete(ASK)).choices[0].text


async def test_an_own_certificate_is_named_with_the_setting_and_not_tried_again(
    secure: tuple[FakeServer, Path],
) -> None:
    server, _ = secure
    with pytest.raises(ServerMisconfigured) as caught:
        await ask(server.endpoint)
    said = str(caught.value)
    assert "certificate" in said
    assert "self-signed" in said
    assert "ca_file" in said
    assert "SSL_CERT_FILE" in said
    assert "Tried" not in said


async def test_a_certificate_of_ca_file_is_believed(secure: tuple[FakeServer, Path]) -> None:
    server, file = secure
    assert await ask(replace(server.endpoint, ca_file=file))
    with pytest.raises(ServerMisconfigured, match="ca_file cannot be read"):
        await ask(replace(server.endpoint, ca_file=file.with_name("none.pem")))
    file.with_name("empty.pem").write_text("no certificate")
    with pytest.raises(ServerMisconfigured, match="PEM"):
        await ask(replace(server.endpoint, ca_file=file.with_name("empty.pem")))


async def test_a_certificate_of_the_environment_is_believed(
    secure: tuple[FakeServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, file = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert await ask(server.endpoint)


async def test_https_to_a_server_of_plain_http_says_so(fake_server: FakeServer) -> None:
    url = fake_server.url.replace("http://", "https://")
    with pytest.raises(ServerMisconfigured, match="http://"):
        await ask(replace(fake_server.endpoint, url=url))


async def test_a_server_outside_is_reached_through_the_proxy(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{fake_server.port}")
    assert await ask(Endpoint(url="http://outside.invalid:8000/v1"))
    assert fake_server.requests[-1]["prompt"] == "How?"


async def test_this_machine_is_never_reached_through_a_proxy(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await ask(fake_server.endpoint)
    assert proxy_of("http://localhost:8000/v1") is None
    assert proxy_of("http://[::1]:8000/v1") is None


async def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")
    with pytest.raises(EngineUnavailable) as caught:
        await ask(Endpoint(url="https://outside.invalid/v1"))
    said = str(caught.value)
    assert "the proxy http://***@127.0.0.1:9 (environment variable HTTPS_PROXY)" in said
    assert "NO_PROXY" in said
    assert "secret" not in said


def test_no_proxy_and_the_kind_of_proxy_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.lan:3128")
    monkeypatch.setenv("NO_PROXY", "models.lan,.inside.lan")
    assert proxy_of("https://models.lan/v1") is None
    assert proxy_of("https://a.inside.lan:8443/v1") is None
    assert proxy_of("http://outside.org/v1") is None
    found = proxy_of("https://outside.org/v1")
    assert found is not None
    assert (found.url, found.variable) == ("http://proxy.lan:3128", "https_proxy")
    monkeypatch.setenv("https_proxy", "socks5://proxy.lan:1080")
    with pytest.raises(ServerMisconfigured, match="only http proxies"):
        proxy_of("https://outside.org/v1")


async def test_a_redirect_says_where_it_points_and_is_not_followed(
    fake_server: FakeServer,
) -> None:
    fake_server.api_key = "secret"
    fake_server.default = "redirect"
    fake_server.location = "https://elsewhere.org/api/v1/completions"
    with pytest.raises(RequestRefused) as caught:
        await ask(fake_server.endpoint)
    said = str(caught.value)
    assert "redirects to https://elsewhere.org/api/v1/completions (HTTP 308)" in said
    assert "give https://elsewhere.org/api/v1 as its URL" in said
    assert caught.value.would_meet_all
    assert fake_server.count == 1
    fake_server.location = "/login?next=models"
    with pytest.raises(RequestRefused, match="/login") as caught:
        await ask(fake_server.endpoint)
    assert "correct its URL" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:password@host/v1", "holds a user or a password"),
        ("http://host:99999/v1", "Port out of range"),
        ("http://host:0/v1", "port 0"),
        ("ftp://host/v1", "is no URL"),
        ("http:///v1", "is no URL"),
        ("http://ho st/v1", "is no URL"),
        ("http://host/v1?key=abc", "after ? or #"),
    ],
)
def test_an_address_that_cannot_be_kept_is_refused_without_its_secrets(url: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_server_url(url)
    assert said in str(caught.value)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 41, "ä"])
def test_a_name_that_no_command_could_give_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a model server"):
        check_server_name(name)
    check_server_name("teacher-2.a_b")


def test_secrets_of_addresses_are_masked_wherever_they_stand() -> None:
    said = "Nothing answers at http://me:p@ss@host:1/v1 (through https://u@proxy)."
    assert masked(said) == "Nothing answers at http://***@host:1/v1 (through https://***@proxy)."
    assert masked("mail me@host.org") == "mail me@host.org"
