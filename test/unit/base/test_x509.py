from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509 as reader
from cryptography.hazmat.primitives.asymmetric import ec

from ganeti.base import x509
from ganeti.base.errors import PrereqError
from ganeti.base.x509 import KeyPair


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return x509.create_authority("cluster.example.com", days=3650)


def issue(authority: KeyPair, name: str, days: int = 365) -> KeyPair:
    key, request = x509.create_request(name)
    return KeyPair(key, x509.sign_request(authority, request, name, days))


@pytest.fixture(scope="module")
def leaf(authority: KeyPair) -> KeyPair:
    return issue(authority, "node1.example.com")


def test_signed_certificate_is_valid_under_its_authority_only(authority: KeyPair, leaf: KeyPair) -> None:
    x509.verify_chain(leaf.cert_pem, authority.cert_pem)
    x509.verify_chain(leaf.pem, authority.pem)
    other = x509.create_authority("cluster.example.com", days=10)
    with pytest.raises(PrereqError, match=r"certificate of 'node1.example.com' is not valid: .*(signature|issuer)"):
        x509.verify_chain(leaf.cert_pem, other.cert_pem)
    x509.verify_chain(leaf.cert_pem, other.cert_pem + authority.cert_pem)


def test_leaf_cannot_sign(authority: KeyPair, leaf: KeyPair) -> None:
    forged = issue(leaf, "evil.example.com")
    with pytest.raises(PrereqError):
        x509.verify_chain(forged.cert_pem, leaf.cert_pem + authority.cert_pem)


def test_expired_and_future_certificates_are_not_valid(authority: KeyPair, leaf: KeyPair) -> None:
    now = datetime.now(UTC)
    assert timedelta(days=364) < x509.expiry(leaf.cert_pem) - now < timedelta(days=366)
    x509.verify_chain(leaf.cert_pem, authority.cert_pem, now + timedelta(days=364))
    with pytest.raises(PrereqError, match="certificate has expired"):
        x509.verify_chain(leaf.cert_pem, authority.cert_pem, now + timedelta(days=366))
    x509.verify_chain(leaf.cert_pem, authority.cert_pem, now - timedelta(minutes=50))
    with pytest.raises(PrereqError, match="not yet valid"):
        x509.verify_chain(leaf.cert_pem, authority.cert_pem, now - timedelta(hours=2))


def test_names_come_from_the_signer_not_from_the_request(authority: KeyPair) -> None:
    _, request = x509.create_request("evil.example.com")
    certificate = x509.sign_request(authority, request, "node2.example.com", 10, ["10.0.0.2", "fe80::1", "rapi.example.com"])
    assert x509.common_name(certificate) == "node2.example.com"
    extensions = reader.load_pem_x509_certificate(certificate.encode()).extensions
    names = extensions.get_extension_for_class(reader.SubjectAlternativeName)
    assert names.value.get_values_for_type(reader.DNSName) == ["node2.example.com", "rapi.example.com"]
    assert [str(address) for address in names.value.get_values_for_type(reader.IPAddress)] == ["10.0.0.2", "fe80::1"]


def test_keys_are_p256(leaf: KeyPair) -> None:
    key = reader.load_pem_x509_certificate(leaf.cert_pem.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"


def test_long_names_survive(authority: KeyPair) -> None:
    name = ".".join(["a" * 60, "b" * 60, "example.com"])
    pair = issue(authority, name)
    x509.verify_chain(pair.cert_pem, authority.cert_pem)
    assert x509.common_name(pair.cert_pem) == name[:64]
    assert name.encode() in reader.load_pem_x509_certificate(pair.cert_pem.encode()).tbs_certificate_bytes


def test_broken_requests_are_refused(authority: KeyPair) -> None:
    with pytest.raises(PrereqError, match="signing request for 'x' cannot be read"):
        x509.sign_request(authority, "nonsense", "x", 10)


def test_digest_is_sha256_of_der(leaf: KeyPair) -> None:
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_pem)
    assert x509.digest(leaf.cert_pem) == x509.digest(leaf.pem) == hashlib.sha256(der).hexdigest()
    with pytest.raises(PrereqError, match="no readable certificate"):
        x509.digest("nonsense")


def test_key_of_another_certificate_is_found_out(leaf: KeyPair, authority: KeyPair) -> None:
    x509.verify_pair(leaf)
    with pytest.raises(PrereqError, match="does not belong to the certificate of 'node1.example.com'"):
        x509.verify_pair(KeyPair(authority.key_pem, leaf.cert_pem))
    with pytest.raises(PrereqError, match="does not belong"):
        x509.verify_pair(KeyPair("nonsense", leaf.cert_pem))


def test_private_key_does_not_show(leaf: KeyPair) -> None:
    assert "PRIVATE" not in repr(leaf) and "PRIVATE" in leaf.pem


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> str | None:
    """One round trip over TLS; returns the protocol version. Raises the client's error."""
    left, right = socket.socketpair()
    left.settimeout(5)
    right.settimeout(5)

    def serve() -> None:
        try:
            with server.wrap_socket(left, server_side=True) as stream:
                stream.sendall(stream.recv(10))
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as stream:
            stream.sendall(b"x")
            if stream.recv(10) != b"x":
                raise ConnectionError("refused by the server")
            return stream.version()
    finally:
        right.close()
        thread.join()


def test_server_admits_only_clients_of_its_authority(authority: KeyPair, leaf: KeyPair, tmp_path: Path) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    pair = write(tmp_path / "server.pem", leaf.pem)
    stranger = x509.create_authority("other", days=1)
    foreign = write(tmp_path / "foreign.pem", issue(stranger, "node1.example.com").pem)
    server = x509.server_context(pair, ca)
    assert handshake(server, x509.client_context(pair, ca, check_hostname=False)) == "TLSv1.3"
    with pytest.raises(OSError):  # noqa: PT011  # which one depends on when the alert arrives
        handshake(server, x509.client_context(None, ca, check_hostname=False))
    with pytest.raises(OSError):  # noqa: PT011
        handshake(server, x509.client_context(foreign, ca, check_hostname=False))
    assert handshake(x509.server_context(pair, None), x509.client_context(None, ca, check_hostname=False)) == "TLSv1.3"


def test_client_refuses_a_server_of_another_authority(authority: KeyPair, leaf: KeyPair, tmp_path: Path) -> None:
    pair = write(tmp_path / "server.pem", leaf.pem)
    other = write(tmp_path / "other.pem", x509.create_authority("other", days=1).cert_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(x509.server_context(pair, None), x509.client_context(None, other, check_hostname=False))


def test_old_protocols_are_refused(authority: KeyPair, leaf: KeyPair, tmp_path: Path) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    pair = write(tmp_path / "server.pem", leaf.pem)
    client = x509.client_context(pair, ca, check_hostname=False)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(x509.server_context(pair, ca), client) == "TLSv1.2"
    assert x509.server_context(pair, ca).minimum_version == ssl.TLSVersion.TLSv1_2


def test_client_that_cares_refuses_another_name(authority: KeyPair, leaf: KeyPair, tmp_path: Path) -> None:
    ca = write(tmp_path / "ca.pem", authority.cert_pem)
    pair = write(tmp_path / "server.pem", leaf.pem)
    server, client = x509.server_context(pair, ca), x509.client_context(pair, ca)
    assert handshake(server, client, "node1.example.com")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client, "node2.example.com")
