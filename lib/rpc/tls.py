"""Mutual TLS between nodes: every node proves itself, as caller and as callee, by a certificate of the cluster's authority.

The callee's certificate must be made out to the node that was meant; the caller's must be one of those that the cluster lists
(`is_listed`). TLS 1.3 only: both ends are ours.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import pycurl

from ganeti.base.paths import Paths


@dataclass(frozen=True)
class Credentials:
    """Files in PEM form: this node's key and certificate together, and the authority's certificate."""

    certificate: str
    authority: str

    @classmethod
    def of(cls, paths: Paths) -> Credentials:
        """The credentials of the node that these paths belong to."""
        return cls(paths.node_certificate, paths.ca_certificate)

    def apply(self, curl: pycurl.Curl) -> None:
        """Make a transfer prove this node and insist on the callee's proof for the host name of the URL."""
        curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_3)
        curl.setopt(pycurl.SSLCERT, self.certificate)
        curl.setopt(pycurl.SSLKEY, self.certificate)
        curl.setopt(pycurl.CAINFO, self.authority)
        curl.setopt(pycurl.SSL_VERIFYPEER, 1)
        curl.setopt(pycurl.SSL_VERIFYHOST, 2)

    def server_context(self) -> ssl.SSLContext:
        """For the callee. It must still see whether the caller `is_listed`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate)
        context.load_verify_locations(self.authority)
        # Connections are kept; tickets to resume them would only let an old proof live longer.
        context.num_tickets = 0
        return context


def digest(der: bytes) -> str:
    """How certificates are listed: SHA-256 of the DER form, as hexadecimal digits."""
    return hashlib.sha256(der).hexdigest()


def peer_digest(peer: ssl.SSLObject | ssl.SSLSocket) -> str:
    """The digest of the certificate with which the other end proved itself; empty if it did not."""
    der = peer.getpeercert(binary_form=True)
    return digest(der) if der else ""


def listed_digests(ssconf: str) -> frozenset[str]:
    """Digests in the text of the ssconf file ``master_candidates_certs`` (lines ``uuid=digest``)."""
    found = (line.partition("=")[2].strip().lower() for line in ssconf.splitlines())
    return frozenset(filter(None, found))


def is_listed(caller: str, listed: Iterable[str]) -> bool:
    """Whether a caller with this digest may command."""
    return any(hmac.compare_digest(caller, one) for one in listed)
