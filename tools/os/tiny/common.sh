# shellcheck shell=bash
# Shared by the scripts of the OS definition "tiny". Progress and errors go to standard error: standard output may be a dump.

# The node's root directory: empty on an ordinary node, elsewhere on one of several nodes on one machine. OS scripts do not get
# the variable: the path by which they were started tells as well.
node_root() {
    if [ -n "${GANETI_ROOTDIR:-}" ]; then
        echo "${GANETI_ROOTDIR%/}"
    else
        case "$0" in
            */srv/ganeti/os/*) echo "${0%%/srv/ganeti/os/*}" ;;
        esac
    fi
}

say() { echo "tiny: $*" >&2; }

# fail WHAT-AND-WHY REMEDY
fail() {
    echo "tiny: error: $1" >&2
    echo "tiny: remedy: $2" >&2
    exit 1
}

# need_tool COMMAND PACKAGE
need_tool() {
    command -v "$1" >/dev/null || fail "the command $1 is not there" "apt-get install $2"
}

# The disk that a script works on, in the variable `disk`. Takes the path that the caller found in its environment.
use_disk() {
    disk=$1
    [ -n "$disk" ] || fail "the instance has no disk that this node can open as a file or device" \
        "give it a disk of a template other than diskless, with kernel-space access"
    if [ ! -f "$disk" ] && [ ! -b "$disk" ]; then
        fail "disk $disk is neither a file nor a block device" "activate the disks of the instance and try again"
    fi
}

disk_mib() {
    if [ -b "$disk" ]; then
        echo $(($(blockdev --getsize64 "$disk") / 1048576))
    else
        echo $(($(stat -L -c %s "$disk") / 1048576))
    fi
}

# --- parameters

is_address() {
    local part='([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])'
    [[ $1 =~ ^$part\.$part\.$part\.$part$ || ( $1 == *:* && $1 =~ ^[0-9a-fA-F:.]+$ ) ]]
}

check_address_parameter() {
    local value=${OSP_ADDRESS:-} prefix most=32
    [ -n "$value" ] || return 0
    prefix=${value#*/}
    [[ $value == *:* ]] && most=128
    [[ $value == */* && $prefix =~ ^[0-9]{1,3}$ && $prefix -le $most ]] && is_address "${value%/*}" && return
    fail "parameter address is '$value', which is not ADDRESS/PREFIX" "write it like 192.0.2.17/24"
}

check_gateway_parameter() {
    [ -z "${OSP_GATEWAY:-}" ] || is_address "$OSP_GATEWAY" ||
        fail "parameter gateway is '$OSP_GATEWAY', which is not an address" "write it like 192.0.2.1"
}

check_key_parameter() {
    local line
    while read -r line; do
        [[ -z $line || $line == \#* || " $line" =~ \ (ssh-(rsa|ed25519)|ecdsa-sha2-nistp[0-9]+|sk-[a-z0-9@.-]+)\ AAAA ]] ||
            fail "parameter ssh_key has a line that is not a public key: ${line:0:40}" \
                "give the text of a file like .ssh/id_ed25519.pub"
    done <<<"${OSP_SSH_KEY:-}"
}

check_password_parameter() {
    [[ ${OSP_ROOT_PASSWORD:-} != *$'\n'* ]] ||
        fail "parameter root_password has more than one line" "choose a password of one line"
}

check_cache_parameter() {
    [[ -z ${OSP_CACHE_DIR:-} || $OSP_CACHE_DIR == /* ]] ||
        fail "parameter cache_dir is '$OSP_CACHE_DIR', which is not an absolute path" "let it begin with /"
}

check_parameters() {
    check_address_parameter
    check_gateway_parameter
    check_key_parameter
    check_password_parameter
    check_cache_parameter
}

# --- the guest's settings: a folder of small files, kept on the disk as the archive settings.img, which the boot loader
# --- hands to the kernel as a second initial file system. It appears in the guest as /etc/tiny.

new_workspace() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    settings=$work/etc/tiny
    mkdir -p "$settings"
    chmod 755 "$work" "$work/etc" "$settings"
}

export MTOOLS_SKIP_CHECK=1

# quietly COMMAND...: its messages are shown only if it fails. mtools complains about each disk that has no geometry.
quietly() {
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        return 1
    }
}

pack_settings() {
    (cd "$work" && find etc | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$work/settings.img"
    quietly mcopy -o -i "$disk" "$work/settings.img" ::settings.img ||
        fail "the settings cannot be written to $disk" "reinstall the instance: its file system may be damaged"
}

unpack_settings() {
    quietly mcopy -n -i "$disk" ::settings.img "$work/settings.img" ||
        fail "there is no guest of this OS definition on $disk" "reinstall the instance with OS tiny"
    (cd "$work" && cpio -i -d -m --quiet <settings.img) ||
        fail "the settings on $disk cannot be read" "reinstall the instance with OS tiny"
}

write_host_name() { echo "${INSTANCE_NAME:?}" >"$settings/hostname"; }

# One line for each network card: MAC ADDRESS/PREFIX GATEWAY, with "-" for what is not known.
write_cards() {
    local index=0 mac address subnet gateway prefix
    : >"$settings/cards"
    while [ "$index" -lt "${NIC_COUNT:-0}" ]; do
        mac=NIC_${index}_MAC address=NIC_${index}_IP subnet=NIC_${index}_NETWORK_SUBNET gateway=NIC_${index}_NETWORK_GATEWAY
        mac=${!mac:-} address=${!address:-} subnet=${!subnet:-} gateway=${!gateway:-}
        if [[ $address == *:* ]]; then
            subnet=NIC_${index}_NETWORK_SUBNET6 gateway=NIC_${index}_NETWORK_GATEWAY6
            subnet=${!subnet:-} gateway=${!gateway:-} prefix=64
        else
            prefix=24
        fi
        [[ $subnet == */* ]] && prefix=${subnet#*/}
        [ -z "$address" ] || address=$address/$prefix
        if [ "$index" = 0 ]; then
            address=${OSP_ADDRESS:-$address}
            gateway=${OSP_GATEWAY:-$gateway}
        fi
        echo "${mac,,} ${address:--} ${gateway:--}" >>"$settings/cards"
        index=$((index + 1))
    done
}
