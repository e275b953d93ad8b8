from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganeti.base import net, proc, ssh
from ganeti.base.errors import CommandError, PrereqError
from ganeti.base.ssh import SshClient
from support.sshd import PASSWORD, Sshd, running_sshd


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("key") / "id_ed25519")
    ssh.generate_key(path, "ed25519", comment="root@master")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, key: str) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd"), ("ed25519", "rsa")) as sshd:
        ssh.add_authorized_key(str(sshd.authorized_keys), Path(f"{key}.pub").read_text())
        yield sshd


@pytest.fixture
def known_hosts(tmp_path: Path, server: Sshd) -> str:
    path = tmp_path / "known_hosts"
    path.write_text(f"# comment\nbroken\n[127.0.0.1]:{server.port} {server.host_keys[0].read_text()}")
    return str(path)


Connect = Callable[..., SshClient]


@pytest.fixture
def connect(server: Sshd, key: str, known_hosts: str) -> Connect:
    def connect_with(**changes: object) -> SshClient:
        arguments = {"port": server.port, "key_files": [key], "known_hosts_file": known_hosts, **changes}
        return SshClient.connect("127.0.0.1", **arguments)  # type: ignore[arg-type]

    return connect_with


@pytest.fixture(scope="module")
def client(server: Sshd, key: str) -> Iterator[SshClient]:
    with SshClient.connect("127.0.0.1", port=server.port, key_files=[key], accept_new_host_key=True) as connected:
        yield connected


@pytest.mark.root
def test_command_runs_with_its_words_kept_apart(client: SshClient) -> None:
    result = client.run(["printf", "%s\\n", "two words", "it's", "$HOME", ""])
    assert (result.stdout, result.stderr, result.status) == ("two words\nit's\n$HOME\n\n", "", 0)


@pytest.mark.root
def test_failure_names_the_command_as_it_can_be_repeated(client: SshClient, server: Sshd) -> None:
    with pytest.raises(CommandError) as caught:
        client.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    first, *output = caught.value.message.split("\n")
    assert first.startswith(f"command failed (exit status 7): ssh -p {server.port} root@127.0.0.1 'sh -c ")
    assert output == ["err", "out"]
    assert client.run(["sh", "-c", "exit 7"], ok=(7,)).status == 7
    assert client.run(["sh", "-c", "kill -9 $$"], ok=(ssh.LOST,)).status == ssh.LOST


@pytest.mark.root
def test_much_input_and_output_flow_at_the_same_time(client: SshClient) -> None:
    data = "0123456789abcdef" * 200_000
    result = client.run(["sh", "-c", "tee /dev/stderr"], input=data)
    assert result.stdout == data and result.stderr == data
    assert client.run(["true"], input=data).status == 0


@pytest.mark.root
def test_command_that_takes_too_long_ends_the_connection(connect: Connect) -> None:
    with connect() as client:
        started = time.monotonic()
        with pytest.raises(CommandError, match=r"took longer than 0.6 s.*\nbegun"):
            client.run(["sh", "-c", "echo begun; exec sleep 5"], timeout=0.6)
        assert time.monotonic() - started < 3
        with pytest.raises(CommandError, match="cannot be started"):
            client.run(["true"])


@pytest.mark.root
def test_file_is_put_in_one_step_with_its_mode(client: SshClient, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    for data, mode in ((b"\x00\xffbytes", 0o640), ("straße", 0o600), ("", 0o755)):
        client.put(data, str(path), mode)
        assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [entry.name for entry in tmp_path.iterdir()] == ["a file"]
    with pytest.raises(CommandError):
        client.put("x", str(tmp_path / "no" / "file"))


@pytest.mark.root
def test_half_a_file_is_not_put(client: SshClient, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(CommandError):
        client.run(["sh", "-c", ssh._PUT, "put", str(path), "600", "10"], input="cut")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.root
def test_known_host_is_believed(connect: Connect, server: Sshd) -> None:
    with connect() as client:
        offered = client.host_key()
    assert offered.known_hosts_line("x").split()[1:] == server.host_keys[0].read_text().split()[:2]
    shown = proc.run(["ssh-keygen", "-l", "-f", str(server.host_keys[0])]).stdout
    assert offered.fingerprint in shown.split()


@pytest.mark.root
def test_known_key_of_another_type_than_the_preferred_one_is_asked_for(
    connect: Connect, server: Sshd, known_hosts: str
) -> None:
    Path(known_hosts).write_text(f"127.0.0.1 {server.host_keys[1].read_text()}")
    with connect() as client:
        assert client.host_key().kind == "ssh-rsa"


@pytest.mark.root
def test_hashed_names_are_understood(connect: Connect, server: Sshd, known_hosts: str) -> None:
    Path(known_hosts).write_text(f"[127.0.0.1]:{server.port} {server.host_keys[0].read_text()}")
    proc.run(["ssh-keygen", "-H", "-f", known_hosts])
    assert "127.0.0.1" not in Path(known_hosts).read_text()
    connect().close()


@pytest.mark.root
def test_one_alias_may_have_the_keys_of_many_hosts(connect: Connect, server: Sshd, known_hosts: str, key: str) -> None:
    lines = [Path(f"{key}.pub").read_text(), server.host_keys[0].read_text()]
    Path(known_hosts).write_text("".join(f"cluster.example.com {line}" for line in lines))
    connect(host_key_alias="cluster.example.com").close()
    with pytest.raises(PrereqError, match="host key of other is not known"):
        connect(host_key_alias="other")


@pytest.mark.root
def test_unknown_host_is_refused_with_its_fingerprint_until_accepted(
    connect: Connect, server: Sshd, tmp_path: Path, client: SshClient
) -> None:
    path = tmp_path / "new_known_hosts"
    fingerprint = client.host_key().fingerprint
    with pytest.raises(PrereqError, match="is not known: it offers") as caught:
        connect(known_hosts_file=str(path))
    assert fingerprint in caught.value.message and str(path) in caught.value.message
    connect(known_hosts_file=str(path), accept_new_host_key=True).close()
    assert path.read_text() == client.host_key().known_hosts_line(f"[127.0.0.1]:{server.port}")
    connect(known_hosts_file=str(path)).close()


@pytest.mark.root
def test_changed_host_key_is_never_accepted(connect: Connect, server: Sshd, known_hosts: str, key: str) -> None:
    Path(known_hosts).write_text(f"[127.0.0.1]:{server.port} {Path(f'{key}.pub').read_text()}")
    for accept in (False, True):
        with pytest.raises(PrereqError, match=r"host key of .* has changed: it offers .* SHA256:.*, known is .* SHA256:"):
            connect(accept_new_host_key=accept)


@pytest.mark.root
def test_password_logs_in_where_no_key_does(connect: Connect, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    ssh.generate_key(other, "rsa")
    connect(key_files=[other], password=PASSWORD).close()
    with pytest.raises(PrereqError) as caught:
        connect(key_files=["/nonexistent", other], password="wrong")
    assert caught.value.message == f"127.0.0.1 refuses SSH log-in as root: tried key {other}, the password"
    with pytest.raises(PrereqError, match="there is no key file and no password to try"):
        connect(key_files=[])


def test_host_without_sshd_is_named() -> None:
    port = net.free_port()
    with pytest.raises(PrereqError, match=f"cannot connect to SSH on 127.0.0.1, port {port}: .*refused"):
        SshClient.connect("127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("kind", "bits", "shown"),
    [("ed25519", None, "256"), ("rsa", None, "2048"), ("rsa", 3072, "3072"), ("ecdsa", None, "256"), ("ecdsa", 384, "384")],
)
def test_generated_keys_are_what_openssh_reads(tmp_path: Path, kind: str, bits: int | None, shown: str) -> None:
    path = tmp_path / "id"
    line = ssh.generate_key(str(path), kind, bits, "root@node1")
    assert proc.run(["ssh-keygen", "-l", "-f", str(path)]).stdout.split()[0] == shown
    assert proc.run(["ssh-keygen", "-y", "-f", str(path)]).stdout.split()[:2] == line.split()[:2]
    assert (tmp_path / "id.pub").read_text() == line and line.endswith(" root@node1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "id.pub").stat().st_mode) == 0o644


@pytest.mark.parametrize(("kind", "bits"), [("dsa", None), ("rsa", 1024), ("ecdsa", 300), ("ed25519", 512), ("x", None)])
def test_weak_and_unknown_keys_are_refused(tmp_path: Path, kind: str, bits: int | None) -> None:
    with pytest.raises(PrereqError, match="rsa"):
        ssh.generate_key(str(tmp_path / "id"), kind, bits)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    return [ssh.generate_key(str(folder / str(number)), "ed25519", comment=f"host{number}").strip() for number in range(3)]


def test_key_is_authorized_once(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / ".ssh" / "authorized_keys"
    assert ssh.add_authorized_key(str(path), lines[0] + "\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.write_text(f'# note\ncommand="echo ssh-rsa x",no-pty {lines[1]}')
    assert ssh.add_authorized_key(str(path), lines[0])
    assert not ssh.add_authorized_key(str(path), lines[0].replace("host0", "another comment"))
    assert not ssh.add_authorized_key(str(path), lines[1])
    assert path.read_text() == f'# note\ncommand="echo ssh-rsa x",no-pty {lines[1]}\n{lines[0]}\n'


def test_key_is_taken_away_with_all_its_lines(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "authorized_keys"
    assert not ssh.remove_authorized_key(str(path), lines[0])
    path.write_text(f"# {lines[0]}\n{lines[0]}\nno-pty {lines[0]}\n\n{lines[1]}")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert ssh.remove_authorized_key(str(link), lines[0])
    assert path.read_text() == f"# {lines[0]}\n\n{lines[1]}"
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not ssh.remove_authorized_key(str(path), lines[0])


@pytest.mark.parametrize("line", ["", "hello", "ssh-rsa", "# ssh-rsa AAAAB3", "ssh-rsa AAAAB3\nssh-rsa AAAAB4"])
def test_what_is_no_key_is_not_authorized(tmp_path: Path, line: str) -> None:
    with pytest.raises(PrereqError, match="not a public SSH key"):
        ssh.add_authorized_key(str(tmp_path / "keys"), line)
