"""The fields that lists show unless others are asked for. Apart from the field tables, so that commands start fast."""

DEFAULT_FIELDS: dict[str, tuple[str, ...]] = {
    "instance": ("name", "hypervisor", "os", "pnode", "status", "oper_ram"),
    "node": ("name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt"),
    "group": ("name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams"),
    "job": ("id", "status", "summary"),
    "lock": ("name", "mode", "owner", "pending"),
    "os": ("name",),
}
