"""The instance policy that the options of `gnt-cluster init` describe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ganeti.base.errors import Code, PrereqError
from ganeti.base.text import parse_size
from ganeti.model.enums import DiskTemplate
from ganeti.model.objects import Params

if TYPE_CHECKING:
    from ganeti.bootstrap.settings import InitSettings

_SIZES = ("memory-size", "disk-size")
_STANDARD = {
    "memory-size": 128,
    "disk-size": 1024,
    "cpu-count": 1,
    "disk-count": 1,
    "nic-count": 1,
    "spindle-use": 1,
}
_MINIMUM = _STANDARD
_MAXIMUM = {
    "memory-size": 32768,
    "disk-size": 1048576,
    "cpu-count": 8,
    "disk-count": 16,
    "nic-count": 8,
    "spindle-use": 12,
}
VCPU_RATIO = 4.0
SPINDLE_RATIO = 32.0


def default_policy() -> Params:
    """The policy of a cluster for which none was given."""
    return {
        "minmax": [{"min": dict(_MINIMUM), "max": dict(_MAXIMUM)}],
        "std": dict(_STANDARD),
        "disk-templates": [str(template) for template in DiskTemplate],
        "vcpu-ratio": VCPU_RATIO,
        "spindle-ratio": SPINDLE_RATIO,
    }


def build_policy(settings: InitSettings) -> Params:
    """The complete policy; options for single specs and for whole bounds exclude each other."""
    result = default_policy()
    single = {
        "cpu-count": settings.ispecs_cpu_count,
        "disk-count": settings.ispecs_disk_count,
        "disk-size": settings.ispecs_disk_size,
        "memory-size": settings.ispecs_mem_size,
        "nic-count": settings.ispecs_nic_count,
    }
    if any(single.values()) and (settings.ipolicy_bounds_specs or settings.ipolicy_std_specs):
        raise PrereqError(
            "--specs-... cannot be combined with --ipolicy-bounds-specs or --ipolicy-std-specs", Code.INVAL
        )
    for name, values in single.items():
        _apply_single(result, name, values)
    if settings.ipolicy_bounds_specs:
        result["minmax"] = [_bounds(entry) for entry in settings.ipolicy_bounds_specs]
    if settings.ipolicy_std_specs:
        result["std"].update(_specs(settings.ipolicy_std_specs, "--ipolicy-std-specs"))
    if settings.ipolicy_disk_templates is not None:
        result["disk-templates"] = list(settings.ipolicy_disk_templates)
    elif settings.enabled_disk_templates:
        result["disk-templates"] = list(settings.enabled_disk_templates)
    if settings.ipolicy_vcpu_ratio is not None:
        result["vcpu-ratio"] = settings.ipolicy_vcpu_ratio
    if settings.ipolicy_spindle_ratio is not None:
        result["spindle-ratio"] = settings.ipolicy_spindle_ratio
    return result


def _apply_single(policy: Params, name: str, values: Mapping[str, Any]) -> None:
    places = {"min": policy["minmax"][0]["min"], "max": policy["minmax"][0]["max"], "std": policy["std"]}
    for key, value in values.items():
        if key not in places:
            raise PrereqError(f"--specs-{name}: '{key}' is none of min, max, std", Code.INVAL)
        places[key].update(_specs({name: value}, f"--specs-{name}"))


def _bounds(entry: Mapping[str, Any]) -> Params:
    if set(entry) != {"min", "max"}:
        raise PrereqError("--ipolicy-bounds-specs wants min:.../max:... in each part", Code.INVAL)
    result = {key: _specs(entry[key], "--ipolicy-bounds-specs") for key in ("min", "max")}
    for key, specs in result.items():
        missing = set(_STANDARD) - set(specs)
        if missing:
            raise PrereqError(f"--ipolicy-bounds-specs: {key} lacks {', '.join(sorted(missing))}", Code.INVAL)
    return result


def _specs(values: Mapping[str, Any], option: str) -> dict[str, int]:
    result = {}
    for name, value in values.items():
        if name not in _STANDARD:
            raise PrereqError(
                f"{option}: there is no spec '{name}'; known: {', '.join(_STANDARD)}", Code.INVAL
            )
        try:
            result[name] = parse_size(str(value)) if name in _SIZES else int(str(value))
        except (ValueError, PrereqError):
            raise PrereqError(f"{option}: {name} wants a number, not {value!r}", Code.INVAL) from None
    return result
