"""What a node is known by: its SSH host key, root's SSH key, and its certificate in the cluster."""

from __future__ import annotations

import os

from ganeti.base import files, ssh, x509
from ganeti.base.errors import Code, PrereqError
from ganeti.base.paths import Paths

NODE_CERTIFICATE_DAYS = 5 * 365


def host_key(paths: Paths) -> str:
    """The public line, ``type base64``, of this host's SSH key; `PrereqError` if it has none."""
    for kind in ssh.KEY_KINDS:
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
