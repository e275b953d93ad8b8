"""The KVM hypervisor. See doc/design/0007-kvm.md for how its parts fit together."""

from __future__ import annotations

from ganeti.node.hypervisor.kvm.hypervisor import KvmHypervisor as KvmHypervisor
