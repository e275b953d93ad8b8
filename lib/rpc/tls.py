"""Mutual TLS of node calls, at the caller's end: prove who is calling, and insist on proof of who answers.

The other end is `base.x509.server_context`; the agent also sees whether the caller's certificate is listed as a master's.
"""

from __future__ import annotations

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
        """Make a transfer show this node's certificate, and accept only the authority's, made out to the URL's host name."""
        curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        curl.setopt(pycurl.SSLCERT, self.certificate)
        curl.setopt(pycurl.SSLKEY, self.certificate)
        curl.setopt(pycurl.CAINFO, self.authority)
        curl.setopt(pycurl.SSL_VERIFYPEER, 1)
        curl.setopt(pycurl.SSL_VERIFYHOST, 2)
