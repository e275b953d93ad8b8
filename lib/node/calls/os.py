"""Node calls about OS definitions."""

from __future__ import annotations

from os.path import realpath

from ganeti.model.filled import FilledInstance
from ganeti.node.dispatch import handling
from ganeti.node.services import Services
from ganeti.rpc.node.blockdev import OsApi


class OsCalls(OsApi):
    """See `OsApi`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handling(order="instance")
    def os_create(self, instance: FilledInstance, reinstall: bool, secret: dict[str, str]) -> None:
        self._services.oses.create(instance, self._devices(instance), reinstall=reinstall, secret=secret)

    @handling(order="instance")
    def os_rename(self, instance: FilledInstance, old_name: str) -> None:
        self._services.oses.rename(instance, self._devices(instance), old_name)

    def os_validate(self, name: str, osparams: dict[str, str], force_variant: bool) -> str:
        return self._services.oses.validate(name, osparams, force_variant=force_variant)

    def _devices(self, instance: FilledInstance) -> list[str]:
        return [realpath(link) for link in self._services.links.of(instance)]
