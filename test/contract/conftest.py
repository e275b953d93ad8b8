"""Asserts in the shared suites tell as much as those in test modules."""

import pytest

pytest.register_assert_rewrite("contract.hypervisor")
