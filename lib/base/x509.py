"""Certificates: an authority, what it signs, and the TLS settings that rest on it.

`cryptography` makes and reads certificates; OpenSSL itself (through pyOpenSSL) judges them: chains, dates, and whether a key
belongs to a certificate, so that the verdict is the one a TLS connection would give. All PEM values are texts; a file with key
and certificate in one is fine wherever a certificate is read.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from ganeti.base.errors import Code, PrereqError

CLOCK_SKEW = timedelta(hours=1)
"""New certificates are valid from this long ago: the clocks of two hosts need not agree when one of them is being set up."""


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate, both PEM. The key does not show in `repr`."""

    key_pem: str = field(repr=False)
    cert_pem: str

    @property
    def pem(self) -> str:
        """Both in one text, as servers want their file."""
        return self.key_pem + self.cert_pem


# --- making


def create_authority(common_name: str, days: int) -> KeyPair:
    """A new self-signed authority, valid for `days` from now; it signs leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = (
        _builder(name, name, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(_key_pem(key), _pem(builder.sign(key, hashes.SHA256())))


def create_request(common_name: str) -> tuple[str, str]:
    """A new private key and a signing request for it: (key PEM, request PEM). The key never has to leave its host."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name)).sign(key, hashes.SHA256())
    return _key_pem(key), request.public_bytes(serialization.Encoding.PEM).decode()


def sign_request(authority: KeyPair, csr_pem: str, common_name: str, days: int, alternatives: Sequence[str] = ()) -> str:
    """The certificate for a request, valid for `days`, for both ends of TLS.

    It names `common_name` and `alternatives` (host names and addresses): only the key is taken from the request, never what the
    request says about itself. Raises `PrereqError` if the request was not signed by its own key.
    """
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
    except ValueError as err:
        raise PrereqError(f"the signing request for '{common_name}' cannot be read: {err}") from err
    if not request.is_signature_valid:
        raise PrereqError(f"the signing request for '{common_name}' is not signed by its own key; make a new one")
    signer = x509.load_pem_x509_certificate(authority.cert_pem.encode())
    public = request.public_key()
    builder = (
        _builder(_name(common_name), signer.subject, public, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, [common_name, *alternatives]))), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)  # type: ignore[arg-type]
    )
    key = serialization.load_pem_private_key(authority.key_pem.encode(), password=None)
    return _pem(builder.sign(key, hashes.SHA256()))  # type: ignore[arg-type]


def _builder(subject: x509.Name, issuer: x509.Name, public: object, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    # X.520 allows 64 characters here; the full name stands among the alternative names.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


# --- reading and judging


def _load(cert_pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(cert_pem.encode())
    except ValueError as err:
        raise PrereqError(f"no readable certificate in the PEM text: {err}", Code.ENVIRON) from err


def digest(cert_pem: str) -> str:
    """SHA-256 of the certificate's DER form, in lower-case hexadecimal digits."""
    return _load(cert_pem).fingerprint(hashes.SHA256()).hex()


def common_name(cert_pem: str) -> str:
    """The subject's common name; empty if it has none."""
    return _subject(_load(cert_pem))


def _subject(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def expiry(cert_pem: str) -> datetime:
    """The moment (in UTC) after which the certificate is not valid."""
    return _load(cert_pem).not_valid_after_utc


def verify_chain(cert_pem: str, ca_pem: str, now: datetime | None = None) -> None:
    """Check that one of the authorities in `ca_pem` signed the certificate and that all dates hold (`now`: another moment).

    Raises `PrereqError` with OpenSSL's reason.
    """
    certificate, store = _load(cert_pem), crypto.X509Store()
    for authority in x509.load_pem_x509_certificates(ca_pem.encode()):
        store.add_cert(crypto.X509.from_cryptography(authority))
    if now is not None:
        store.set_time(now)
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate)).verify_certificate()
    except crypto.X509StoreContextError as err:
        raise PrereqError(f"certificate of '{_subject(certificate)}' is not valid: {err}", Code.ENVIRON) from err


def verify_pair(pair: KeyPair) -> None:
    """Check that the key belongs to the certificate. Raises `PrereqError`."""
    context = SSL.Context(SSL.TLS_METHOD)
    certificate = _load(pair.cert_pem)
    try:
        key = serialization.load_pem_private_key(pair.key_pem.encode(), password=None)
        context.use_certificate(certificate)
        context.use_privatekey(key)  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, ValueError, TypeError) as err:
        raise PrereqError(
            f"the private key does not belong to the certificate of '{_subject(certificate)}': {_reason(err)}"
        ) from err


def _reason(err: Exception) -> str:
    """The text of an error; OpenSSL's are lists of (library, function, reason)."""
    found = err.args[0] if err.args else None
    return "; ".join(str(entry[-1]) for entry in found) if isinstance(found, list) and found else str(err)


# --- using


def server_context(pair_file: str, ca_file: str | None) -> ssl.SSLContext:
    """TLS settings of a server: its key and certificate, TLS 1.2 or newer (1.3 where the client can).

    With `ca_file`, only clients with a certificate of that authority get in. Raises `OSError` for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(pair_file)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(pair_file: str | None, ca_file: str, *, check_hostname: bool = True) -> ssl.SSLContext:
    """TLS settings of a client that trusts servers of that authority and shows its own certificate (None: it has none).

    Without `check_hostname` any server of the authority will do, whatever its name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = check_hostname
    context.load_verify_locations(ca_file)
    if pair_file is not None:
        context.load_cert_chain(pair_file)
    return context
