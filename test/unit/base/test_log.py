from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base import log

SECRET = "t0p s3cret"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level


def test_lines_have_time_level_pid_and_logger(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    log.setup(str(path))
    logging.getLogger("ganeti.test").info("hello %s", "straße")
    logging.getLogger("ganeti.test").debug("not shown")
    line = path.read_text()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO \[{os.getpid()}\] ganeti.test: hello straße\n", line)
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


def test_debug_shows_everything_and_setup_replaces_itself(tmp_path: Path) -> None:
    log.setup(str(tmp_path / "first"))
    log.setup(str(tmp_path / "second"), debug=True)
    logging.getLogger("x").debug("details")
    assert (tmp_path / "first").read_text() == ""
    assert "DEBUG" in (tmp_path / "second").read_text()


def test_a_person_sees_warnings_without_decoration(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(stderr=True, program="gnt-node")
    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("disk full")
    assert capsys.readouterr().err == "gnt-node: WARNING: disk full\n"


def test_nothing_is_shown_without_a_place_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    logging.getLogger("x").error("lost")
    assert capsys.readouterr() == ("", "")


def test_rotated_log_is_reopened_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    log.setup(str(path))
    logging.getLogger("x").info("before")
    path.rename(tmp_path / "daemon.log.1")
    logging.getLogger("x").info("between")
    log.reopen()
    logging.getLogger("x").info("after")
    assert "between" in (tmp_path / "daemon.log.1").read_text()
    assert path.read_text().endswith("x: after\n") and path.read_text().count("\n") == 1


def test_secrets_vanish_from_message_arguments_and_traceback(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup(str(path))
    opcode = {"OP_ID": "OP_INSTANCE_CREATE", "osparams_secret": {"root_pw": SECRET}, "name": "web"}
    try:
        raise ValueError(f"cannot do {opcode}")
    except ValueError:
        logging.getLogger("x").exception("job %s failed", opcode)
    text = path.read_text()
    assert SECRET not in text and "root_pw" not in text
    assert text.count("'name': 'web'") == 2 and log.REDACTED in text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(log.SECRET_KEYS), st.dictionaries(st.text(max_size=4), VALUES, max_size=3), st.sampled_from("rj"))
def test_whatever_stands_in_a_secret_parameter_vanishes_and_the_rest_stays(key: str, inner: dict[str, object], form: str) -> None:
    value = {"before": 1, key: {**inner, "k'\"\\}": SECRET}, "after": ["x", {"y": "z"}]}
    text = repr(value) if form == "r" else simplejson.dumps(value)
    redacted = log.redact(f"got {text} from client")
    assert SECRET not in redacted
    start, end = redacted.split(log.REDACTED)
    assert start.startswith("got {") and "before" in start and start.endswith(": ")
    assert "after" in end and end.endswith("}]} from client")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("osparams_private=Private({'a': 'b'}), x=1", "osparams_private=<redacted>, x=1"),
        ("osparams_secret=a,b", "osparams_secret=<redacted>,b"),
        ('{"osparams_secret":"x","b":1}', '{"osparams_secret":<redacted>,"b":1}'),
        ('{"osparams_private": {"cut', '{"osparams_private": <redacted>'),
        ("osparams_private_cluster: {'os': {'k': 'v'}} end", "osparams_private_cluster: <redacted> end"),
        ("{'osparams_private': {}, 'osparams': {'a': 1}}", "{'osparams_private': {}, 'osparams': {'a': 1}}"),
        ("unknown parameter osparams_secret", "unknown parameter osparams_secret"),
        ("{'osparams_private': {'osparams_secret': 'x'}}", "{'osparams_private': <redacted>}"),
    ],
)
def test_forms_of_secret_parameters(text: str, redacted: str) -> None:
    assert log.redact(text) == redacted


def test_secret_parameters_vanish_from_json_inside_json() -> None:
    inner = simplejson.dumps({"osparams_secret": {"pw": SECRET}})
    for text in (simplejson.dumps({"body": inner}), simplejson.dumps([simplejson.dumps([inner])])):
        assert SECRET not in log.redact(text)


def test_private_keys_vanish_and_certificates_stay() -> None:
    key = f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----\n"
    certificate = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
    redacted = log.redact(f"writing {key}{certificate}{key.replace('EC ', '')}")
    assert SECRET not in redacted and certificate in redacted
    assert log.redact(f"-----BEGIN PRIVATE KEY-----\n{SECRET} (cut)").endswith("-----END PRIVATE KEY-----")
    assert SECRET not in log.redact(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET} (cut)")


def test_syslog_gets_the_program_and_the_message(tmp_path: Path) -> None:
    path = tmp_path / "syslog"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        log.setup(syslog=str(path), program="ganeti-noded")
        logging.getLogger("x").warning("disk %s", {"osparams_secret": {"a": SECRET}})
        received = server.recv(1000).rstrip(b"\0").decode()
    assert received == f"<28>ganeti-noded[{os.getpid()}]: x: disk {{'osparams_secret': <redacted>}}"
