"""Every parameter with a name, a type and a default: hypervisor, back-end, node, NIC and disk parameters.

This is the one declaration; command lines, validation, query fields, `info` output and the manual are derived from it.
"""

from __future__ import annotations

from ganeti.model.enums import DiskTemplate, HypervisorKind
from ganeti.model.params import BOOL, FLOAT, INT, MAYBE_TEXT, SIZE, TEXT, Param, table

_KVM = table(
    Param("acpi", BOOL, True),
    Param("boot_order", TEXT, "disk"),
    Param("cdrom2_image_path", TEXT, ""),
    Param("cdrom_disk_type", TEXT, ""),
    Param("cdrom_image_path", TEXT, ""),
    Param("cpu_cores", INT, 0),
    Param("cpu_mask", TEXT, "all"),
    Param("cpu_sockets", INT, 0),
    Param("cpu_threads", INT, 0),
    Param("cpu_type", TEXT, ""),
    Param("disk_aio", TEXT, "threads"),
    Param("disk_cache", TEXT, "default"),
    Param("disk_discard", TEXT, "ignore"),
    Param("disk_type", TEXT, "paravirtual"),
    Param("floppy_image_path", TEXT, ""),
    Param("initrd_path", TEXT, ""),
    Param("kernel_args", TEXT, "ro"),
    Param("kernel_path", TEXT, "/boot/vmlinuz-3-kvmU"),
    Param("keymap", TEXT, ""),
    Param("kvm_extra", TEXT, ""),
    Param("kvm_flag", TEXT, ""),
    Param("kvm_path", TEXT, "/usr/bin/kvm"),
    Param("kvm_pci_reservations", INT, 12),
    Param("machine_version", TEXT, ""),
    Param("mem_path", TEXT, ""),
    Param("migration_bandwidth", INT, 32),
    Param("migration_caps", TEXT, ""),
    Param("migration_downtime", INT, 30),
    Param("migration_mode", TEXT, "live"),
    Param("migration_port", INT, 8102),
    Param("nic_type", TEXT, "paravirtual"),
    Param("reboot_behavior", TEXT, "reboot"),
    Param("root_path", MAYBE_TEXT, "/dev/vda1"),
    Param("scsi_controller_type", TEXT, "lsi"),
    Param("security_domain", TEXT, ""),
    Param("security_model", TEXT, "none"),
    Param("serial_console", BOOL, True),
    Param("serial_speed", INT, 38400),
    Param("soundhw", TEXT, ""),
    Param("spice_bind", TEXT, ""),
    Param("spice_image_compression", TEXT, ""),
    Param("spice_ip_version", INT, 0),
    Param("spice_jpeg_wan_compression", TEXT, ""),
    Param("spice_password_file", TEXT, ""),
    Param("spice_playback_compression", BOOL, True),
    Param("spice_streaming_video", TEXT, ""),
    Param("spice_tls_ciphers", TEXT, "HIGH:-DES:-3DES:-EXPORT:-DH"),
    Param("spice_use_tls", BOOL, False),
    Param("spice_use_vdagent", BOOL, True),
    Param("spice_zlib_glz_wan_compression", TEXT, ""),
    Param("usb_devices", TEXT, ""),
    Param("usb_mouse", TEXT, ""),
    Param("use_chroot", BOOL, False),
    Param("use_guest_agent", BOOL, False),
    Param("use_localtime", BOOL, False),
    Param("user_shutdown", BOOL, False),
    Param("vga", TEXT, ""),
    Param("vhost_net", BOOL, True),
    Param("virtio_net_queues", INT, 1),
    Param("vnc_bind_address", TEXT, ""),
    Param("vnc_password_file", TEXT, ""),
    Param("vnc_tls", BOOL, False),
    Param("vnc_x509_path", TEXT, ""),
    Param("vnc_x509_verify", BOOL, False),
    Param("vnet_hdr", BOOL, True),
)

_XEN_PVM = table(
    Param("blockdev_prefix", TEXT, "sd"),
    Param("bootloader_args", TEXT, ""),
    Param("bootloader_path", TEXT, ""),
    Param("cpu_cap", INT, 0),
    Param("cpu_mask", TEXT, "all"),
    Param("cpu_weight", INT, 256),
    Param("cpuid", TEXT, ""),
    Param("initrd_path", TEXT, ""),
    Param("kernel_args", TEXT, "ro"),
    Param("kernel_path", TEXT, "/boot/vmlinuz-3-xenU"),
    Param("migration_mode", TEXT, "live"),
    Param("migration_port", INT, 8002),
    Param("reboot_behavior", TEXT, "reboot"),
    Param("root_path", MAYBE_TEXT, "/dev/xvda1"),
    Param("soundhw", TEXT, ""),
    Param("use_bootloader", BOOL, False),
    Param("vif_script", TEXT, ""),
)

_XEN_HVM = table(
    Param("acpi", BOOL, True),
    Param("blockdev_prefix", TEXT, "hd"),
    Param("boot_order", TEXT, "cd"),
    Param("cdrom_image_path", TEXT, ""),
    Param("cpu_cap", INT, 0),
    Param("cpu_mask", TEXT, "all"),
    Param("cpu_weight", INT, 256),
    Param("cpuid", TEXT, ""),
    Param("device_model", TEXT, "/usr/lib/xen/bin/qemu-dm"),
    Param("disk_type", TEXT, "paravirtual"),
    Param("kernel_path", TEXT, "/usr/lib/xen/boot/hvmloader"),
    Param("migration_mode", TEXT, "non-live"),
    Param("migration_port", INT, 8002),
    Param("nic_type", TEXT, "rtl8139"),
    Param("pae", BOOL, True),
    Param("pci_pass", TEXT, ""),
    Param("reboot_behavior", TEXT, "reboot"),
    Param("soundhw", TEXT, ""),
    Param("use_localtime", BOOL, False),
    Param("vif_script", TEXT, ""),
    Param("vif_type", TEXT, "ioemu"),
    Param("viridian", BOOL, False),
    Param("vnc_bind_address", TEXT, "0.0.0.0"),
    Param("vnc_password_file", TEXT, "/etc/ganeti/vnc-cluster-password"),
)

_LXC = table(
    Param("cpu_mask", TEXT, ""),
    Param("devices", TEXT, "c 1:3 rw,c 1:5 rw,c 1:7 rw,c 1:8 rw,c 1:9 rw,c 1:10 rw,c 5:0 rw,c 5:1 rw,c 5:2 rw,c 136:* rw"),
    Param("drop_capabilities", TEXT, "mac_override,sys_boot,sys_module,sys_time,sys_admin"),
    Param("extra_cgroups", TEXT, ""),
    Param("extra_config", TEXT, ""),
    Param("num_ttys", INT, 6),
    Param("startup_timeout", INT, 30),
)

_CHROOT = table(
    Param("init_script", TEXT, "/ganeti-chroot"),
)

_FAKE = table(
    Param("migration_mode", TEXT, "live"),
)

HYPERVISOR = {
    HypervisorKind.KVM: _KVM,
    HypervisorKind.XEN_PVM: _XEN_PVM,
    HypervisorKind.XEN_HVM: _XEN_HVM,
    HypervisorKind.LXC: _LXC,
    HypervisorKind.CHROOT: _CHROOT,
    HypervisorKind.FAKE: _FAKE,
}
"""Parameters of each hypervisor."""

HYPERVISOR_GLOBALS = frozenset({"migration_mode", "migration_port", "migration_bandwidth"})
"""Hypervisor parameters that can be set for the whole cluster only."""

BACKEND = table(
    Param("always_failover", BOOL, False),
    Param("auto_balance", BOOL, True),
    Param("maxmem", SIZE, 128),
    Param("minmem", SIZE, 128),
    Param("spindle_use", INT, 1),
    Param("vcpus", INT, 1),
)

NODE = table(
    Param("cpu_speed", FLOAT, 1.0),
    Param("exclusive_storage", BOOL, False),
    Param("oob_program", TEXT, ""),
    Param("ovs", BOOL, False),
    Param("ovs_link", MAYBE_TEXT, ""),
    Param("ovs_name", MAYBE_TEXT, "switch1"),
    Param("spindle_count", INT, 1),
    Param("ssh_port", INT, 22),
)

NODE_GLOBALS = frozenset({"exclusive_storage"})

NIC = table(
    Param("link", TEXT, "xen-br0"),
    Param("mode", TEXT, "bridged"),
    Param("vlan", TEXT, ""),
)

DISK = {
    DiskTemplate.DISKLESS: table(),
    DiskTemplate.FILE: table(),
    DiskTemplate.SHAREDFILE: table(),
    DiskTemplate.PLAIN: table(
        Param("stripes", INT, 1),
    ),
    DiskTemplate.BLOCKDEV: table(),
    DiskTemplate.DRBD: table(
        Param("c-delay-target", INT, 1),
        Param("c-fill-target", INT, 0),
        Param("c-max-rate", INT, 61440),
        Param("c-min-rate", INT, 4096),
        Param("c-plan-ahead", INT, 20),
        Param("data-stripes", INT, 1),
        Param("disk-barriers", TEXT, "n"),
        Param("disk-custom", TEXT, ""),
        Param("dynamic-resync", BOOL, False),
        Param("meta-barriers", BOOL, False),
        Param("meta-stripes", INT, 1),
        Param("metavg", TEXT, "xenvg"),
        Param("net-custom", TEXT, ""),
        Param("protocol", TEXT, "C"),
        Param("resync-rate", INT, 61440),
    ),
    DiskTemplate.RBD: table(
        Param("access", TEXT, "kernelspace"),
        Param("pool", TEXT, "rbd"),
        Param("user-id", TEXT, ""),
    ),
    DiskTemplate.EXT: table(
        Param("access", TEXT, "kernelspace"),
    ),
    DiskTemplate.GLUSTER: table(
        Param("access", TEXT, "kernelspace"),
        Param("host", TEXT, "127.0.0.1"),
        Param("port", INT, 24007),
        Param("volume", TEXT, "gv0"),
    ),
}
"""Disk parameters of each template."""
