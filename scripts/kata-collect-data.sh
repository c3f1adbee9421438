#!/usr/bin/env bash
# Collects data for a problem report, as Markdown on standard output: configuration, image, logs, managers, packages.
set -uo pipefail

version=@VERSION@
usage() {
    cat <<T
Usage: kata-collect-data.sh [-d] [-h] [-v]
Prints data for a problem report, as Markdown. Read it before you publish it. Needs root.
  -d  trace this script
  -h  this help
  -v  the version
T
}
while getopts dhv option; do
    case $option in
    d) set -x ;;
    h) usage && exit 0 ;;
    v) echo "kata-collect-data.sh version $version" && exit 0 ;;
    *) usage >&2 && exit 1 ;;
    esac
done
if [ "$(id -u)" != 0 ]; then
    echo "kata-collect-data.sh: Need to run as root" >&2
    exit 1
fi
# Looks beside this script first: that runtime belongs to it.
PATH=$(cd "$(dirname "$0")" && pwd):$PATH

heading() { printf '\n# %s\n\n' "$1"; }
subheading() { printf '\n## %s\n\n' "$1"; }
separator() { printf '\n---\n'; }
have() { command -v "$1" >/dev/null 2>&1; }
fenced() { # language, text on standard input
    printf '```%s\n' "$1"
    cat
    printf '\n```\n'
}
output() { # a command; its output, also its errors
    printf 'Output of "`%s`":\n\n' "$*"
    "$@" 2>&1 </dev/null | fenced ""
}

section_meta() {
    heading "Meta details"
    printf 'Running `kata-collect-data.sh` version `%s` at `%s`.\n' "$version" "$(date '+%Y-%m-%d.%H:%M:%S.%N%z')"
}

section_runtime() {
    heading "Runtime"
    if ! have kata-runtime; then
        echo 'No `kata-runtime`'
        return
    fi
    printf 'Runtime is `%s`.\n' "$(command -v kata-runtime)"
    separator
    heading '`kata-env`'
    printf 'Output of "`kata-runtime kata-env`":\n\n'
    kata-runtime kata-env 2>&1 | fenced toml
    separator
    heading "Runtime config files"
    subheading "Runtime default config files"
    printf '```\n%s\n```\n' "$(printf '%s\n' "${configurations[@]}")"
    subheading "Runtime config file contents"
    for file in "${configurations[@]}"; do
        if [ -e "$file" ]; then
            printf 'Output of "`cat "%s"`":\n\n' "$file"
            fenced toml <"$file"
        else
            printf 'Config file `%s` not found\n' "$file"
        fi
    done
    separator
    heading "Containerd shim v2"
    if have containerd-shim-kata-v2; then
        output containerd-shim-kata-v2 --version
    else
        echo 'No `containerd-shim-kata-v2`'
    fi
}

section_ksm() {
    heading "KSM throttler"
    if have kata-ksm-throttler; then output kata-ksm-throttler --version; else echo 'No `kata-ksm-throttler`'; fi
}

# Prints the value of a key in the configuration in use.
configured() { kata-runtime kata-env 2>/dev/null | sed -n "0,/^  $1 = /s/^  $1 = \"\(.*\)\"$/\1/p"; }

yaml() { # the metadata in an image or initrd
    printf '```yaml\n'
    if [ "$1" = image ]; then
        local place
        place=$(mktemp -d) && mount -o loop,ro "$2" "$place" 2>/dev/null || mount -o loop,ro,offset=3145728 "$2" "$place" 2>/dev/null
        cat "$place/var/lib/osbuilder/osbuilder.yaml" 2>/dev/null || echo "unknown"
        mountpoint -q "$place" && umount "$place"
        rmdir "$place"
    else
        kata-osbuilder describe "$2" 2>/dev/null || echo "unknown"
    fi
    printf '```\n'
}

section_image() {
    heading "Image details"
    local image
    image=$(configured image)
    if [ -n "$image" ] && [ -e "$image" ]; then yaml image "$image"; else echo "No image"; fi
    separator
    heading "Initrd details"
    local initrd
    initrd=$(configured initrd)
    if [ -n "$initrd" ] && [ -e "$initrd" ]; then yaml initrd "$initrd"; else echo "No initrd"; fi
}

section_logs() {
    heading "Logfiles"
    local problems="error|fail|fatal|impossible|impossibility|panic|warn|abort"
    for unit in kata-runtime:"Runtime" containerd-shim-kata-v2:"Containerd shim v2" kata:"Kata"; do
        subheading "${unit#*:} logs"
        local found
        found=$(journalctl -q -o cat -a -t "${unit%%:*}" 2>/dev/null | grep -iE "\b($problems)" | tail -100)
        if [ -n "$found" ]; then
            printf 'Recent problems found in system journal:\n'
            printf '%s\n' "$found" | fenced ""
        else
            printf 'No recent problems found in system journal.\n'
        fi
    done
}

section_managers() {
    heading "Container manager details"
    subheading "Docker"
    if have docker; then
        echo 'Have `docker`'
        output docker version
        output docker info
        output systemctl show docker
    else
        echo 'No `docker`'
    fi
    subheading "Kubernetes"
    if have kubectl; then
        echo 'Have `kubectl`'
        output kubectl version
        output kubectl config view
        output systemctl show kubelet
    else
        echo 'No `kubectl`'
    fi
    subheading "crio"
    if have crio; then
        echo 'Have `crio`'
        output crio --version
        output systemctl show crio
        output cat /etc/crio/crio.conf
    else
        echo 'No `crio`'
    fi
    subheading "containerd"
    if have containerd; then
        echo 'Have `containerd`'
        output containerd --version
        output systemctl show containerd
        output cat /etc/containerd/config.toml
    else
        echo 'No `containerd`'
    fi
    subheading "Podman"
    if have podman; then
        echo 'Have `podman`'
        output podman --version
        output cat /etc/containers/containers.conf
    else
        echo 'No `podman`'
    fi
}

section_packages() {
    heading "Packages"
    local pattern='cc-oci-runtime|cc-runtime|runv|kata-|qemu-system|virtiofsd|linux-container|linux-source'
    if have dpkg; then
        echo 'Have `dpkg`'
        printf 'Output of "`dpkg -l|grep -E "(%s)"`":\n\n' "$pattern"
        dpkg -l 2>/dev/null | grep -E "($pattern)" | fenced ""
    else
        echo 'No `dpkg`'
    fi
    if have rpm; then
        echo 'Have `rpm`'
        printf 'Output of "`rpm -qa|grep -E "(%s)"`":\n\n' "$pattern"
        rpm -qa 2>/dev/null | grep -E "($pattern)" | fenced ""
    else
        echo 'No `rpm`'
    fi
}

section_monitor() {
    heading "Kata Monitor"
    if have kata-monitor; then output kata-monitor --version; else echo 'No `kata-monitor`'; fi
}

mapfile -t configurations < <(kata-runtime --kata-show-default-config-paths 2>/dev/null)
if [ ${#configurations[@]} = 0 ]; then
    configurations=(/etc/kata-containers/configuration.toml /usr/share/defaults/kata-containers/configuration.toml)
fi
printf '<details>\n<summary>Show kata-collect-data.sh details</summary>\n<p>\n'
for section in meta runtime ksm image logs managers packages monitor; do
    "section_$section"
    separator
done
printf '\n</p>\n</details>\n'
