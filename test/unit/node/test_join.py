"""What the set-up of a new node decides; `test/cluster/test_node_setup.py` runs the program."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ganeti.base import files
from ganeti.base.errors import PrereqError
from ganeti.node.join import EXIT_NODE_SETUP, JoinRequest, PrepareRequest, check_host, check_join, main
from support.agent import NODE_NAME, Cluster

PREPARE = PrepareRequest("cluster.example.com", NODE_NAME)


def test_free_host_of_the_right_name_may_join() -> None:
    check_host(NODE_NAME, PREPARE, None, is_master=False)
    check_host("node2", PREPARE, None, is_master=False)
    check_host(NODE_NAME, PREPARE, "cluster.example.com", is_master=False)


@pytest.mark.parametrize(
    ("hostname", "present", "is_master", "reason"),
    [
        ("node3", None, False, "calls itself node3"),
        (NODE_NAME, "other.example.com", False, "is a node of cluster other.example.com"),
        (NODE_NAME, "cluster.example.com", True, "is the master of cluster"),
    ],
)
def test_host_that_must_not_join_is_told_why(hostname: str, present: str | None, is_master: bool, reason: str) -> None:
    with pytest.raises(PrereqError, match=reason):
        check_host(hostname, PREPARE, present, is_master=is_master)


def test_node_of_another_cluster_joins_only_by_force() -> None:
    forced = PrepareRequest("cluster.example.com", NODE_NAME, force=True)
    check_host(NODE_NAME, forced, "other.example.com", is_master=False)
    with pytest.raises(PrereqError):
        check_host(NODE_NAME, forced, "other.example.com", is_master=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "ca")


def request(cluster: Cluster, node: str = NODE_NAME, **changes: str) -> tuple[JoinRequest, str]:
    pem = files.read_text(cluster.certificate(node))
    key, mark, certificate = pem.partition("-----BEGIN CERTIFICATE-----")
    values = {**cluster.ssconf(), **changes}
    return JoinRequest(cluster.name, NODE_NAME, cluster.authority.cert_pem, mark + certificate, values, 3), key


def test_complete_request_is_accepted(cluster: Cluster) -> None:
    check_join(*request(cluster))


def test_certificate_must_fit_key_authority_and_name(cluster: Cluster, tmp_path: Path) -> None:
    good, _ = request(cluster)
    with pytest.raises(PrereqError, match="does not belong to the certificate"):
        check_join(good, request(cluster)[1])
    foreign, foreign_key = request(Cluster(tmp_path / "other", "other"))
    with pytest.raises(PrereqError, match="is not valid"):
        check_join(JoinRequest(**{**vars(good), "certificate": foreign.certificate}), foreign_key)
    with pytest.raises(PrereqError, match=r"is for node node7\.example\.com"):
        check_join(*request(cluster, "node7.example.com"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"master_candidates_certs": "\n"}, "nobody could call this node"),
        ({"cluster_name": ""}, "lack cluster_name"),
        ({"cluster_name": "other"}, "of another cluster"),
    ],
)
def test_values_without_which_the_node_would_be_lost_are_needed(cluster: Cluster, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(PrereqError, match=reason):
        check_join(*request(cluster, **changes))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "action None is none of prepare, join, leave"),
        ('{"action": "prepare"}', "cluster_name: is missing"),
        ('{"action": "prepare", "cluster_name": "c", "node_name": "n", "x": 1}', "x: unknown field"),
        ('{"action": "join", "cluster_name": 5}', "cluster_name: expected text"),
    ],
)
def test_bad_request_is_refused_with_its_own_status(text: str, reason: str) -> None:
    output, complaints = io.StringIO(), io.StringIO()
    assert main(io.StringIO(text), output, complaints) == EXIT_NODE_SETUP
    assert complaints.getvalue().startswith("Failure: ")
    assert reason in complaints.getvalue()
    assert output.getvalue() == ""
