from __future__ import annotations

import pytest

from ganeti.model.roles import Role, role_of, with_role
from support.fakecluster import FakeCluster


@pytest.mark.parametrize("old", list(Role))
@pytest.mark.parametrize("new", list(Role))
def test_a_node_has_exactly_the_role_it_was_given(old: Role, new: Role) -> None:
    node = with_role(with_role(FakeCluster(nodes=1).node_row(1), old), new)
    assert role_of(node) is new
    assert [node.master_candidate, node.offline, node.drained].count(True) == (new is not Role.REGULAR)
