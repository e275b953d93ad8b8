"""What a node is known by: its SSH host key, root's SSH key, and its certificate in the cluster."""

from __future__ import annotations

import os

from ganeti.base import files, ssh, x509
from ganeti.base.errors import Code, PrereqError
from ganeti.base.paths import Paths
from ganeti.model.known_hosts import known_hosts

# Ways to name a key type: upstream's words and what ssh-keygen calls its files.
HOST_KEY_KINDS = ("ed25519", "ecdsa", "rsa")
NODE_CERTIFICATE_DAYS = 5 * 365

__all__ = [
    "NODE_CERTIFICATE_DAYS",
    "ensure_root_key",
    "find_root_keys",
    "host_key",
    "known_hosts",
    "make_certificate",
    "root_key_file",
]


def host_key(paths: Paths) -> str:
    """The public line, ``type base64``, of this host's SSH key; `PrereqError` if it has none."""
    for kind in HOST_KEY_KINDS:
        text = files.read_optional(f"{paths.ssh_host_keys}/ssh_host_{kind}_key.pub")
        parsed = ssh.parse_public_key(text) if text else None
        if parsed is not None:
            return " ".join(parsed)
    raise PrereqError(
        f"there is no SSH host key in {paths.ssh_host_keys}; make them with 'ssh-keygen -A'", Code.ENVIRON
    )


def root_key_file(paths: Paths, kind: str) -> str:
    """Where root's private key of a type is."""
    return f"{paths.ssh_directory}/id_{kind}"


def find_root_keys(paths: Paths) -> list[str]:
    """Root's private key files that exist."""
    found = [root_key_file(paths, kind) for kind in HOST_KEY_KINDS]
    return [path for path in found if os.path.exists(path)]


def ensure_root_key(paths: Paths, kind: str = "rsa", bits: int | None = None) -> tuple[str, bool]:
    """The public line of root's key of a type, and whether it had to be made."""
    path = root_key_file(paths, kind)
    existing = files.read_optional(path + ".pub")
    if existing and os.path.exists(path):
        return existing.strip(), False
    files.ensure_directory(paths.ssh_directory, 0o700)
    return ssh.generate_key(path, kind, bits, comment=f"root@{paths.hostname}").strip(), True


def make_certificate(authority: x509.KeyPair, name: str) -> x509.KeyPair:
    """A certificate for a node whose key is made here (the first node of a cluster)."""
    key, request = x509.create_request(name)
    return x509.KeyPair(key, x509.sign_request(authority, request, name, NODE_CERTIFICATE_DAYS, [name]))
