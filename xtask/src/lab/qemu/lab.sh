# What the tests' scripts in the QEMU lab's guest share. A script begins with `. /lab.sh`.
set -e
NVMET=/sys/kernel/config/nvmet

# The ports of the kernel's target: 1 plain, 2 TLS required, 3 both, which secure concatenation needs; 4 and 5
# plain, for referrals and paths.
ports() {
    port 1 4420
    port 2 4421 required
    port 3 4422 "not required"
    port 4 4423
    port 5 4424
}

# port NUMBER SERVICE [TREQ]
port() {
    mkdir "$NVMET/ports/$1"
    (
        cd "$NVMET/ports/$1"
        echo tcp >addr_trtype
        echo ipv4 >addr_adrfam
        echo 0.0.0.0 >addr_traddr
        echo "$2" >addr_trsvcid
        # Before a subsystem is linked: a port that is up does not change.
        [ -z "$3" ] || { echo tls1.3 >addr_tsas && echo "$3" >addr_treq; }
    )
}

# disk NAME MIB BLOCK: a block device /dev/NAME that keeps what is written in memory, in blocks of so many bytes.
disk() {
    mkdir "/sys/kernel/config/nullb/$1"
    (
        cd "/sys/kernel/config/nullb/$1"
        echo "$2" >size
        echo "$3" >blocksize
        echo 1 >memory_backed
        echo 1 >discard
        echo 1 >power
    )
}

# subsystem NQN: any host may connect.
subsystem() {
    mkdir "$NVMET/subsystems/$1"
    echo 1 >"$NVMET/subsystems/$1/attr_allow_any_host"
}

# namespace NQN NSID DEVICE
namespace() {
    mkdir "$NVMET/subsystems/$1/namespaces/$2"
    printf %s "$3" >"$NVMET/subsystems/$1/namespaces/$2/device_path"
    echo 1 >"$NVMET/subsystems/$1/namespaces/$2/enable"
}

# offer NQN PORT...: by the ports' numbers.
offer() {
    nqn=$1
    shift
    for number; do ln -s "$NVMET/subsystems/$nqn" "$NVMET/ports/$number/subsystems/$nqn"; done
}

# allow NQN HOST: this host, and no other that is not allowed too.
allow() {
    mkdir -p "$NVMET/hosts/$2"
    echo 0 >"$NVMET/subsystems/$1/attr_allow_any_host"
    ln -s "$NVMET/hosts/$2" "$NVMET/subsystems/$1/allowed_hosts/$2"
}

# gone NQN DISK...: nothing is left of the subsystem, its hosts and these disks.
gone() {
    set +e
    rm -f "$NVMET"/ports/*/subsystems/"$1"
    for host in "$NVMET/subsystems/$1"/allowed_hosts/*; do
        rm -f "$host"
        rmdir "$NVMET/hosts/${host##*/}" 2>/dev/null
    done
    rmdir "$NVMET/subsystems/$1"/namespaces/* "$NVMET/subsystems/$1" 2>/dev/null
    shift
    for disk; do rmdir "/sys/kernel/config/nullb/$disk" 2>/dev/null; done
    set -e
}

# appears DEVICE: waits for a block device.
appears() {
    tries=0
    until [ -b "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "no $1" >&2; return 1; }
        usleep 50000
    done
}

# connected NVME-CONNECT-ARGUMENTS...: connects the kernel's initiator and prints its controller, as nvme0.
connected() {
    said=$(nvme connect -t tcp "$@") || { echo "$said" >&2; return 1; }
    echo "$said" | sed -n 's/^connecting to device: //p'
}

# device CONTROLLER: the block device of its first namespace, once that is there. A namespace with paths is named by
# its subsystem (nvme0n1), each path of it by the controller too (nvme0c1n1).
device() {
    tries=0
    until path=$(ls "/sys/class/nvme/$1" | grep -E -m1 '^nvme[0-9]+(c[0-9]+)?n[0-9]+$'); do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "$1 has no namespace" >&2; return 1; }
        usleep 50000
    done
    path=/dev/$(echo "$path" | sed 's/c[0-9]*//')
    appears "$path" && echo "$path"
}
