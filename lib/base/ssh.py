"""SSH to other hosts, and the key files it rests on.

`SshClient` (on paramiko) is for hosts where none of our daemons runs yet; no `ssh` program, agent or personal configuration takes
part. Host keys are checked strictly. paramiko is imported on first use, since it costs a tenth of a second.
"""

from __future__ import annotations

import logging
import os
import re
import select
import shlex
import socket
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ganeti.base import files, proc
from ganeti.base.errors import Code, PrereqError
from ganeti.base.proc import Result

if TYPE_CHECKING:
    import paramiko
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
KEY_KINDS = ("ed25519", "ecdsa", "rsa")
LOST = 255
"""Status of a command whose end was not reported: killed by a signal, or the connection broke (as `ssh` does)."""

# Writes standard input to $1 with mode $2, if $3 bytes arrived: a broken connection must not leave half a file.
_PUT = """set -e
umask 077
new="$1.$$.new"
trap 'rm -f "$new"' EXIT
cat >"$new"
test "$(wc -c <"$new")" -eq "$3"
chmod "$2" "$new"
mv -f "$new" "$1"
"""


@dataclass(frozen=True)
class HostKey:
    """A public host key: its type (such as ``ssh-ed25519``), its base64 form, and its SHA-256 fingerprint."""

    kind: str
    blob: str
    fingerprint: str

    def known_hosts_line(self, name: str) -> str:
        """The line of a ``known_hosts`` file that ties this key to `name`."""
        return f"{name} {self.kind} {self.blob}\n"


class SshClient:
    """A connection to one host. Made by `connect`; a context manager that closes it."""

    def __init__(self, transport: paramiko.Transport, host: str, port: int, user: str) -> None:
        self._transport = transport
        self.host = host
        self.port = port
        self.user = user

    @classmethod
    def connect(
        cls,
        host: str,
        *,
        port: int = 22,
        user: str = "root",
        key_files: Sequence[str] = (),
        known_hosts_file: str | None = None,
        accept_new_host_key: bool = False,
        password: str | None = None,
        host_key_alias: str | None = None,
        timeout: float = CONNECT_TIMEOUT,
    ) -> Self:
        """Connect, check the host key, log in with the first key that is accepted, else with the password.

        The host must stand in `known_hosts_file` under its name, or under `host_key_alias`. With `accept_new_host_key` an unknown
        host is believed and written there (if there is a file); a changed key is never accepted. Raises `PrereqError`.
        """
        import paramiko

        try:
            link = socket.create_connection((host, port), timeout)
        except OSError as err:
            reason = f"cannot connect to SSH on {host}, port {port}: {err}; is sshd running there?"
            raise PrereqError(reason, Code.ENVIRON) from err
        transport = paramiko.Transport(link)
        client = cls(transport, host, port, user)
        try:
            transport.banner_timeout = transport.auth_timeout = timeout
            names = [host_key_alias] if host_key_alias else _names(host, port)
            known = find_host_keys(known_hosts_file, names) if known_hosts_file else []
            client._prefer([key.kind for key in known])
            transport.start_client(timeout=timeout)
            client._check_host_key(known, names[0], known_hosts_file, accept_new_host_key)
            client._log_in(key_files, password)
        except (paramiko.SSHException, OSError, EOFError) as err:
            client.close()
            reason = str(err) or type(err).__name__
            raise PrereqError(f"SSH to {user}@{host}, port {port}, failed: {reason}", Code.ENVIRON) from err
        except BaseException:
            client.close()
            raise
        return client

    def _prefer(self, kinds: Sequence[str]) -> None:
        """Ask for host keys of the types that we know, so that a host with several does not look changed."""
        options = self._transport.get_security_options()
        wanted = [algorithm for kind in kinds for algorithm in _ALGORITHMS.get(kind, (kind,))]
        first = [algorithm for algorithm in wanted if algorithm in options.key_types]
        options.key_types = (*dict.fromkeys(first), *(name for name in options.key_types if name not in first))

    def _check_host_key(self, known: Sequence[HostKey], name: str, file: str | None, accept_new: bool) -> None:
        offered = self.host_key()
        if any(key.blob == offered.blob for key in known):
            return
        shown = f"{offered.kind} {offered.fingerprint}"
        if known:
            expected = ", ".join(f"{key.kind} {key.fingerprint}" for key in known)
            raise PrereqError(
                f"host key of {name} has changed: it offers {shown}, known is {expected}. Somebody may be listening in,"
                f" or the host was installed anew; in that case remove its lines from {file}",
                Code.ENVIRON,
            )
        if not accept_new:
            raise PrereqError(
                f"host key of {name} is not known: it offers {shown}. Compare this with what 'ssh-keygen -l -f' shows of the key"
                f" files in /etc/ssh on that host, then accept the key or add it to {file or 'a known_hosts file'}",
                Code.ENVIRON,
            )
        log.info("accepting new host key of %s: %s", name, shown)
        if file:
            _append_line(file, offered.known_hosts_line(name), mode=0o644)

    def _log_in(self, key_files: Sequence[str], password: str | None) -> None:
        import paramiko

        tried = []
        for path in key_files:
            if not os.path.exists(path):
                continue
            tried.append(f"key {path}")
            try:
                self._transport.auth_publickey(self.user, paramiko.PKey.from_path(path))
                return
            except (paramiko.SSHException, ValueError, TypeError) as err:
                log.debug("%s was not accepted by %s: %s", path, self.host, err)
        if password is not None:
            tried.append("the password")
            try:
                self._transport.auth_password(self.user, password)
                return
            except paramiko.SSHException as err:
                log.debug("the password was not accepted by %s: %s", self.host, err)
        what = f"tried {', '.join(tried)}" if tried else "there is no key file and no password to try"
        raise PrereqError(f"{self.host} refuses SSH log-in as {self.user}: {what}", Code.ENVIRON)

    def host_key(self) -> HostKey:
        """The key that the host has proved to own."""
        return _host_key(self._transport.get_remote_server_key())

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,
        timeout: float | None = None,
        ok: Collection[int] = (0,),
    ) -> Result:
        """Run a command there and wait for its end; as `proc.run`, but its environment is that of the remote account.

        Raises `CommandError`. When `timeout` seconds have passed, the connection is closed; the command may go on over there.
        """
        import paramiko

        line = shlex.join(argv)
        words = ("ssh", "-p", str(self.port), f"{self.user}@{self.host}", line)
        log.debug("%s", shlex.join(words))
        data = input.encode() if isinstance(input, str) else input or b""
        try:
            channel = self._transport.open_session(timeout=CONNECT_TIMEOUT)
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError) as err:
            raise proc.command_error(Result(words, LOST, "", ""), f"cannot be started: {err}", "") from err
        with channel:
            stdout, stderr, late = _converse(channel, data, timeout)
            status = LOST if late or channel.exit_status < 0 else channel.exit_status
        result = Result(words, status, stdout, stderr)
        if late:
            self.close()
            raise proc.command_error(result, f"took longer than {timeout:g} s", result.output)
        if status not in ok:
            raise proc.command_error(result, None, result.output)
        return result

    def put(self, data: str | bytes, path: str, mode: int = 0o600) -> None:
        """Write a file there, replacing it in one step. Raises `CommandError`."""
        raw = data.encode() if isinstance(data, str) else data
        self.run(["sh", "-c", _PUT, "put", path, f"{mode:o}", str(len(raw))], input=raw)

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


# A host key of one type can prove itself by several signature algorithms.
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")}


def _names(host: str, port: int) -> list[str]:
    """Under which names a known_hosts file may have the host: the most exact one first."""
    return [host] if port == 22 else [f"[{host}]:{port}", host]


def _host_key(key: paramiko.PKey) -> HostKey:
    return HostKey(key.get_name(), key.get_base64(), key.fingerprint)


def find_host_keys(known_hosts_file: str, names: Sequence[str]) -> list[HostKey]:
    """All keys that the file ties to any of the names, hashed names too. A missing file has none; bad lines are passed over."""
    import paramiko
    from paramiko.hostkeys import HostKeyEntry

    found = []
    for line in (files.read_optional(known_hosts_file) or "").splitlines():
        if not line.strip() or line.lstrip()[0] in "#@":
            continue
        try:
            entry = HostKeyEntry.from_line(line.strip())
        except paramiko.SSHException:
            continue
        if entry is None or entry.key is None:
            continue
        for pattern in entry.hostnames or ():
            hashed = pattern.startswith("|1|")
            if any(pattern == (paramiko.HostKeys.hash_host(name, pattern) if hashed else name) for name in names):
                found.append(_host_key(entry.key))
                break
    return found


def _converse(channel: paramiko.Channel, data: bytes, timeout: float | None) -> tuple[str, str, bool]:
    """Send the input and collect both outputs; the last value tells whether time ran out."""
    deadline = None if timeout is None else time.monotonic() + timeout
    # A thread of its own: a command may fill its output before it reads all input.
    sender = threading.Thread(target=_send, args=(channel, data), daemon=True)
    sender.start()
    stdout, stderr = bytearray(), bytearray()
    late = ended = False
    while not (ended or late):
        ended = bool(channel.closed or (channel.eof_received and channel.exit_status_ready()))
        late = not ended and deadline is not None and time.monotonic() > deadline
        while channel.recv_ready():
            stdout += channel.recv(65536)
        while channel.recv_stderr_ready():
            stderr += channel.recv_stderr(65536)
        if not (ended or late):
            # At most a short wait: the arrival of the status alone does not wake us.
            select.select([channel], [], [], 0.02)
    return stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), late


def _send(channel: paramiko.Channel, data: bytes) -> None:
    try:
        channel.sendall(data)
        channel.shutdown_write()
    except OSError as err:
        # The command ended without reading everything: its status tells.
        log.debug("input was not read to its end: %s", err)


# --- key files


def generate_key(path: str, kind: str, bits: int | None = None, comment: str = "") -> str:
    """Make a key pair without passphrase in `path` (mode 0600) and ``path.pub`` (0644); returns the public line.

    `kind` is ``rsa`` (2048 `bits` unless given), ``ecdsa`` (256, 384 or 521 bits) or ``ed25519``. Raises `PrereqError`.
    """
    from cryptography.hazmat.primitives import serialization

    key = _generate(kind, bits)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    line = f"{public} {comment}".rstrip() + "\n"
    files.write_atomic(path, private, mode=0o600)
    files.write_atomic(f"{path}.pub", line, mode=0o644)
    return line


def _generate(kind: str, bits: int | None) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
    if kind == "ed25519" and bits in (None, 256):
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ecdsa" and (bits or 256) in curves:
        return ec.generate_private_key(curves[bits or 256])
    if kind == "rsa" and (bits or 2048) >= 2048:
        return rsa.generate_private_key(public_exponent=65537, key_size=bits or 2048)
    if kind == "dsa":
        raise PrereqError("SSH keys of type dsa are no longer accepted by OpenSSH; use rsa, ecdsa or ed25519")
    size = f" with {bits} bits" if bits else ""
    raise PrereqError(f"no SSH key of type '{kind}'{size}; use rsa (2048 bits or more), ecdsa (256, 384, 521) or ed25519")


_KEY = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+)\s+(AAAA[0-9A-Za-z+/]+=*)")


def find_private_keys(directory: str) -> list[str]:
    """The private keys of a user's ``.ssh`` directory that exist, by the usual names, newest kind first."""
    found = [os.path.join(directory, f"id_{kind}") for kind in KEY_KINDS]
    return [path for path in found if os.path.exists(path)]


def parse_public_key(line: str) -> tuple[str, str] | None:
    """Type and base64 form of the key in a line of ``authorized_keys`` or a ``.pub`` file; None if it has none."""
    match = None if line.lstrip().startswith("#") else _KEY.search(line)
    return (match[1], match[2]) if match else None


def add_authorized_key(path: str, line: str) -> bool:
    """Let the key of this line log in; False if it could already (with whatever options and comment).

    The file is replaced in one step; it and its directory are made (0600, 0700) if missing. Raises `PrereqError` for a line
    without a key.
    """
    key = _require_key(line)
    if any(parse_public_key(present) == key for present in (files.read_optional(path) or "").splitlines()):
        return False
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        files.ensure_directory(os.path.dirname(os.path.abspath(path)), 0o700)
    _append_line(path, line.strip() + "\n", mode=0o600)
    return True


def remove_authorized_key(path: str, line: str) -> bool:
    """Take all lines with the key of this line away; False if there is none. Everything else stays as it is."""
    key = _require_key(line)
    lines = (files.read_optional(path) or "").splitlines(keepends=True)
    kept = [present for present in lines if parse_public_key(present) != key]
    if len(kept) == len(lines):
        return False
    _rewrite(path, "".join(kept), mode=0o600)
    return True


def _require_key(line: str) -> tuple[str, str]:
    key = parse_public_key(line)
    if key is None or "\n" in line.strip():
        raise PrereqError(f"this is not a public SSH key: '{line.strip()[:60]}'")
    return key


def _append_line(path: str, line: str, mode: int) -> None:
    before = files.read_optional(path) or ""
    if before and not before.endswith("\n"):
        before += "\n"
    _rewrite(path, before + line, mode)


def _rewrite(path: str, text: str, mode: int) -> None:
    """Replace the file behind any link, keeping owner and mode of one that is there."""
    target = os.path.realpath(path)
    try:
        found = os.stat(target)
    except FileNotFoundError:
        files.write_atomic(target, text, mode=mode)
    else:
        files.write_atomic(target, text, mode=found.st_mode & 0o7777, owner=(found.st_uid, found.st_gid))
