"""Logging of daemons and commands: one format, reopened on request, never a secret.

Every line is ``time level [pid] logger message``. Lines pass a filter that removes private parameters and private keys, in the
message as well as in tracebacks.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from io import TextIOWrapper

from ganeti.base.secret import REDACTED

FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"

SYSLOG = "/dev/log"

SECRET_KEYS = ("osparams_private", "osparams_secret", "osparams_private_cluster")
"""Parameters whose values are private (the public contract names them)."""

# A key as JSON and Python write it (in a text inside JSON: with backslashes); what follows is scanned to the end of the value,
# which may nest.
_KEY = re.compile(r"""(?P<quote>\\*['"]|)\b(?:%s)(?P=quote)\s*[:=]\s*""" % "|".join(SECRET_KEYS))  # noqa: UP031
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_CLOSING = {"{": "}", "[": "]", "(": ")"}


def redact(text: str) -> str:
    """The text without private keys and without the values of `SECRET_KEYS`, however they nest."""
    if "PRIVATE KEY" in text:
        text = _PEM.sub(lambda match: f"-----BEGIN {match[1]}-----{REDACTED}-----END {match[1]}-----", text)
    if "osparams_" not in text:
        return text
    parts, position = [], 0
    for match in _KEY.finditer(text):
        if match.start() < position:
            continue  # inside a value that is gone already
        end = _end_of_value(text, match.end())
        if text[match.end() : end] not in ("{}", "None", "null", "[]"):
            parts.append(text[position : match.end()] + REDACTED)
            position = end
    return "".join(parts) + text[position:]


def _end_of_value(text: str, start: int) -> int:
    """Position after the JSON or Python literal (or `dict(...)` call) that begins at `start`; the end if it is cut off."""
    stack: list[str] = []
    quote, escaped = "", False
    for index in range(start, len(text)):
        char = text[index]
        if quote:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in _CLOSING:
            stack.append(_CLOSING[char])
        elif stack and char == stack[-1]:
            stack.pop()
        elif not stack and (char in ",)]}" or char.isspace()):
            return index
    return len(text)


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then removes secrets from the whole line, the traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def setup(
    logfile: str | None = None,
    *,
    debug: bool = False,
    stderr: bool = False,
    syslog: str | None = None,
    program: str = "ganeti",
) -> None:
    """Direct all logging of this process, in place of what was set up before.

    To `logfile` (mode 0640) and, with `stderr`, to standard error, where a person sees messages without time and pid; with
    `syslog` (a socket, such as `SYSLOG`) to the system's log. With `debug` everything is logged, else INFO, and WARNING to
    standard error. Raises `OSError`.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    if logfile:
        _add(root, LogFile(logfile), FORMAT, logging.DEBUG if debug else logging.INFO)
    if stderr:
        short = FORMAT if debug else f"{program}: %(levelname)s: %(message)s"
        _add(root, logging.StreamHandler(sys.stderr), short, logging.DEBUG if debug else logging.WARNING)
    if syslog:
        from logging.handlers import SysLogHandler

        handler = SysLogHandler(syslog, SysLogHandler.LOG_DAEMON)
        _add(root, handler, f"{program}[%(process)d]: %(name)s: %(message)s", logging.DEBUG if debug else logging.INFO)
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    # Libraries that tell about each packet.
    for name in ("paramiko", "asyncio", "aiohttp.access", "pyroute2"):
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)


def _add(root: logging.Logger, handler: logging.Handler, text: str, level: int) -> None:
    handler.setFormatter(RedactingFormatter(text))
    handler.setLevel(level)
    root.addHandler(handler)


class LogFile(logging.FileHandler):
    """A log file that can be closed and opened again under its name, after `logrotate` has moved it."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return TextIOWrapper(os.fdopen(handle, "ab"), encoding="utf-8", errors="backslashreplace")

    def reopen(self) -> None:
        """Go on in the file that now has the name, creating it if need be."""
        self.acquire()
        try:
            old, self.stream = self.stream, self._open()
            if old:
                old.close()
        finally:
            self.release()


def reopen() -> None:
    """Reopen all log files of this process (on SIGHUP)."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.reopen()
