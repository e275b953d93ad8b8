"""Who may call this node: master candidates, known by the digests of their certificates."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading

from ganeti.base.paths import Paths
from ganeti.node.ssconf import Ssconf

_KEY = "master_candidates_certs"


class Callers:
    """The certificates listed in ssconf, read again when the file changes. Without the file nobody may call."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.ssconf(_KEY)
        self._ssconf = Ssconf(paths)
        self._lock = threading.Lock()
        self._signature: tuple[int, int, int] | None = None
        self._digests: dict[str, str] = {}

    def identify(self, certificate: bytes | None) -> str | None:
        """The node uuid to which this certificate (DER) belongs if it may call; None if it may not."""
        if not certificate:
            return None
        digest = hashlib.sha256(certificate).hexdigest()
        for uuid, known in self._current().items():
            if hmac.compare_digest(known.encode(), digest.encode()):
                return uuid
        return None

    def _current(self) -> dict[str, str]:
        with self._lock:
            signature = self._stat()
            if signature is None or signature != self._signature:
                entries = self._ssconf.mapping(_KEY, "=")
                self._digests = {uuid: digest.lower().replace(":", "") for uuid, digest in entries.items()}
                self._signature = signature
            return self._digests

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
