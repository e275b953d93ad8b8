"""What the demonstration measures."""

from __future__ import annotations

import pytest

from ganeti.tools.demo.watch import parse_ping

TEXT = """PING 10.1.2.100 (10.1.2.100) 56(84) bytes of data.
[1700000000.100000] 64 bytes from 10.1.2.100: icmp_seq=1 ttl=64 time=0.5 ms
[1700000000.150000] 64 bytes from 10.1.2.100: icmp_seq=2 ttl=64 time=0.5 ms
[1700000000.400000] From 10.1.2.1 icmp_seq=4 Destination Host Unreachable
[1700000000.550000] 64 bytes from 10.1.2.100: icmp_seq=9 ttl=64 time=0.5 ms

--- 10.1.2.100 ping statistics ---
"""


def test_longest_gap_is_between_answers_only() -> None:
    log = parse_ping(TEXT)
    assert len(log.times) == 3
    assert log.longest_gap == pytest.approx(0.4)


def test_no_answer_has_no_gap() -> None:
    assert parse_ping("").longest_gap == 0
