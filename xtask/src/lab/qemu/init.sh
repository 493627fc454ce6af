#!/bin/busybox sh
# The first process of the QEMU lab's guest. Written into the image by `cargo xtask lab qemu`.
/bin/busybox --install -s /usr/bin
export PATH=/usr/sbin:/usr/bin HOME=/root TMPDIR=/tmp
for line in "proc /proc" "sysfs /sys" "devtmpfs /dev" "tmpfs /tmp" "tmpfs /run"; do
    mount -t ${line% *} none ${line#* }
done
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts

while read -r module options; do
    insmod "/modules/$module" $options || echo "lab: module $module does not load"
done </modules.list
mount -t configfs none /sys/kernel/config

ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
route add default gw 10.0.2.2

# After the modules that make the keyring `.nvme`: tlshd links it into its session once, at its start.
tlshd -s -c /etc/tlshd/config >/tmp/tlshd.log 2>&1 &

(. /lab.sh && ports) || echo "lab: the target's ports do not come up"

# The agent: a line "ID BASE64(script)" comes in, a line "ID EXIT-CODE BASE64(output) BASE64(errors)" goes out.
# Scripts run side by side. The port stays open: a reader that finds nobody at the other end waits and tries again.
answer() {
    base64 -d >"/tmp/$1.sh"
    (cd /root && exec sh "/tmp/$1.sh") >"/tmp/$1.out" 2>"/tmp/$1.err" </dev/null 3>&-
    echo "$1 $? $(base64 -w0 "/tmp/$1.out") $(base64 -w0 "/tmp/$1.err")" >"/tmp/$1.answer"
    until mkdir /run/answering 2>/dev/null; do usleep 10000; done
    cat "/tmp/$1.answer" >&3
    rmdir /run/answering
    rm -f "/tmp/$1".*
}
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = agent ] && exec 3<>"/dev/${port##*/}"
done
read -r up _ </proc/uptime
echo "lab: ready after $up s"
while :; do
    while read -r id script <&3; do
        echo "$script" | answer "$id" &
    done
    usleep 200000
done
