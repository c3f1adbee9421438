import Foundation
import Testing

@Suite(
    "a guest that turns on its host", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct IsolationTests {
    @Test("a guest can write where it may, and nowhere else: not beside its mounts, not into a read-only volume")
    func share() throws {
        let lab = try Lab()
        defer { lab.remove() }
        // The guest's root mounts the share once more, around the container's own mounts.
        try lab.bundle(
            """
            mkdir /tmp/share; mount -t virtiofs kataShared /tmp/share || exit 9; cd /tmp/share
            touch beside; ln -s /etc link; mkdir t-share/beside; rmdir t-share/rootfs; mknod node c 1 3
            volume=.v2; cat $volume/file; touch $volume/new; echo no > $volume/file; rm $volume/file
            echo yes > t-share/rootfs/tmp/written; cat /tmp/written; data=.v1; echo yes >> $data/file
            """)
        let outcome = try lab.sh(
            """
            # With announced mounts a second mount of the share is one of those (virtio_fs_get_tree in fs/fuse/virtio_fs.c).
            sed -i 's/,announce_submounts//' configuration.toml; mkdir data fixed; echo text > data/file; echo text > fixed/file
            jq '.process.capabilities |= map_values(["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]) | .mounts += [
                {destination: "/data", type: "bind", source: "\(lab.directory)/data", options: ["rbind", "rw"]},
                {destination: "/fixed", type: "bind", source: "\(lab.directory)/fixed", options: ["rbind", "ro"]}]' \\
                bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-share 2> errors; echo $?; cat data/file fixed/file; ls data fixed; grep -c 'Read-only' errors; cat errors >&2
            """)
        #expect(
            outcome.output == "text\nyes\n0\ntext\nyes\ntext\ndata:\nfile\n\nfixed:\nfile\n8\n",
            "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-share") == "")
    }

    /// Prints a process's excess rights, and the host's files that it sees.
    private static let inspect = """
        inspect() {
            for kind in mnt pid ipc uts net; do
                [ "$(readlink /proc/$1/ns/$kind)" != "$(readlink /proc/self/ns/$kind)" ] || echo "is in the host's $kind namespace"
            done
            grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/$1/status
            grep -E '^(NoNewPrivs|Seccomp):' /proc/$1/status | tr -d '\\t'
            tr '\\0' '\\n' < /proc/$1/environ
            awk '$6 !~ /^ro,/ && $5 != "/proc" {print "can write " $5}' /proc/$1/mountinfo
            cut -d ' ' -f 5 /proc/$1/mountinfo | sort | tr '\\n' ' '
            (cd /proc/$1/root && find run home root tmp etc 2> /dev/null)
        }
        """

    @Test(
        "QEMU has no right, process, network or file of the host but its own installation; and as a user of its own too"
    )
    func hypervisor() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 1000")
        let outcome = try lab.sh(
            """
            \(Self.inspect)
            \(lab.kata) create -b bundle t-qemu < /dev/null > out 2>&1 && \(lab.kata) start t-qemu || cat out
            inspect $(cat /run/vc/vm/t-qemu/qemu.pid)
            \(lab.kata) delete --force t-qemu
            # That user may not read the boot files.
            for file in \(Lab.source!)/out/guest/vmlinux \(Lab.source!)/out/guest/initrd.img /usr/share/qemu/bios-microvm.bin; do
                install -m 600 $file ${file##*/}
            done
            echo; sed -i "s|^kernel = .*|kernel = \\"$PWD/vmlinux\\"|; s|^initrd = .*|initrd = \\"$PWD/initrd.img\\"|
                s|^\\[hypervisor.qemu\\]|&\\nrootless = true\\nfirmware = \\"$PWD/bios-microvm.bin\\"|" configuration.toml
            truncate -s 8M disk && mkfs.ext4 -q disk
            jq --arg disk $PWD/disk '.linux.resources.memory = {limit: 300000000} |
                .mounts += [{destination: "/disk", type: "ext4", source: $disk, options: ["rw"]}]' bundle/config.json > c; mv c bundle/config.json
            \(lab.kata) create -b bundle t-user < /dev/null > out 2>&1 && \(lab.kata) start t-user || cat out
            \(lab.kata) exec t-user sh -c 'echo works > /disk/file; cat /disk/file; awk "/MemTotal/ {print (\\$2 > 500000)}" /proc/meminfo'
            qemu=$(cat /run/vc/vm/t-user/qemu.pid) shim=$(pgrep -f '[-]id t-user( |$)')
            inspect $qemu | cut -c 1-30
            awk -v shim=$shim '/^[UG]id/ {print $2 == 1879048192 + shim, $2 == $3, $3 == $4, $4 == $5}' /proc/$qemu/status
            \(lab.kata) delete --force t-user; ls -ln disk | cut -d ' ' -f 3,4
            """)
        // Kernel, initrd and image are passed as open descriptors.
        let seen = [
            "/", "/dev/null", "/dev/urandom", "/etc/ld.so.cache", "/proc", "/usr/bin/qemu-system-x86_64", "/usr/lib",
            "/usr/lib64", "/usr/share",
        ].joined(separator: " ")
        #expect(
            outcome.output == """
                NoNewPrivs:1
                Seccomp:2
                \(seen) etc
                etc/ld.so.cache

                works
                1
                NoNewPrivs:1
                Seccomp:2
                \(seen.prefix(30))
                etc/ld.so.cache
                1 1 1 1
                1 1 1 1
                0 0

                """, "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-qemu") + lab.leftovers("t-user") == "")
    }

    /// Tries to reach a sandbox as another user of the host: prints nothing when nothing is possible.
    private static let stranger = #"""
        import os, signal, socket, subprocess, sys
        def output(*words): return subprocess.run(words, capture_output=True, text=True).stdout
        pids = [int(p) for p in output("pgrep", "-f", sys.argv[1]).split() if "python" not in open(f"/proc/{p}/cmdline").read()]
        paths = [p for root in sys.argv[2:] for p in output("find", root, "-path", "*/rootfs", "-prune", "-o", "-print").split("\n") if p]
        own = set()
        for pid in pids:
            for link in os.listdir(f"/proc/{pid}/fd"):
                try: own.add(os.readlink(f"/proc/{pid}/fd/{link}"))
                except OSError: pass
        sockets = [line.split() for line in open("/proc/net/unix").read().split("\n")[1:] if len(line.split()) > 7]
        sockets = [s[7] for s in sockets if f"socket:[{s[6]}]" in own and int(s[3], 16) & 0x10000]
        for path in sockets:
            mode, door = os.stat(path).st_mode & 0o777, os.stat(os.path.dirname(path)).st_mode & 0o777
            if path[0] != "/" or mode != 0o600 or door != 0o700: print("open to others:", path, oct(mode), oct(door))
        print(len(sockets) >= 3, len(pids) >= 4, len(paths) > 10)
        os.setgroups([]); os.setgid(4242); os.setuid(4242)
        for path in paths:
            try: (os.listdir if os.path.isdir(path) else open)(path); print("reads", path)
            except OSError: pass
        for path in sockets:
            try: socket.socket(socket.AF_UNIX).connect(path); print("connects to", path)
            except OSError: pass
        for pid in pids:
            try: os.kill(pid, signal.SIGCONT); print("signals", pid)
            except OSError: pass
            for name in ["environ", "mem", "root/", "fd/"]:
                try: (os.listdir if name[-1] == "/" else open)(f"/proc/{pid}/{name}"); print("reads", pid, name)
                except OSError: pass
        """#

    @Test(
        "another user of the host can't find, signal or read a sandbox; its secrets are in no log and no state; its own helpers can"
    )
    func strangers() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 1000")
        try Self.stranger.write(toFile: lab.directory + "/stranger.py", atomically: true, encoding: .utf8)
        let outcome = try lab.sh(
            """
            sed -i 's/^enable_debug.*/enable_debug = true/' configuration.toml
            jq '.process.env += ["SECRET=in-the-env-4711"]' bundle/config.json > c; mv c bundle/config.json
            k() { \(lab.kata) --log $PWD/log --log-format json "$@"; }
            k create -b bundle t-secret < /dev/null > out 2>&1 && k start t-secret || cat out
            echo from-the-input-4711 | k exec -e MORE=of-a-program-4711 t-secret sh -c 'grep -c 4711; echo $MORE | cut -c 1-4'
            chmod 755 . && python3 stranger.py t-secret /run/vc /run/kata-containers state
            grep -rl --exclude-dir=rootfs -e '-4711' /run . | sort
            for p in $(pgrep -x virtiofsd); do ! grep -q t-secret /proc/$p/cmdline || virtiofsd=$p; done
            shim=$(pgrep -f '[-]id t-secret( |$)')
            for kind in mnt pid ipc uts net; do
                [ "$(readlink /proc/$virtiofsd/ns/$kind)" != "$(readlink /proc/self/ns/$kind)" ] || echo $kind
            done
            beyond() { echo $((0x$(awk '/^CapEff/ {print $2}' /proc/$1/status) & ~$2)); }
            beyond $virtiofsd 0x880000df; beyond $shim 0x89ac75ff
            grep -E '^(NoNewPrivs|Seccomp):' /proc/$virtiofsd/status | tr -d '\\t'
            k delete --force t-secret
            """)
        // virtiofsd's rights are those over files; the shim's are ShimRights'.
        #expect(
            outcome.output == """
                1
                of-a
                True True True
                ./bundle/config.json
                0
                0
                NoNewPrivs:1
                Seccomp:2

                """, "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-secret") == "")
    }

    @Test("a setuid program in a container is still one")
    func setuid() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("/bin/who-am-i")
        let outcome = try lab.sh(
            """
            echo 'int geteuid(void); int main(void) { return geteuid() == 0 ? 7 : 8; }' | gcc -static -x c - -o rootfs/bin/who-am-i
            chmod 4755 rootfs/bin/who-am-i
            jq '.process.user = {uid: 1000, gid: 1000} | .process.noNewPrivileges = false' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-setuid; echo $?
            """)
        #expect(outcome.output == "7\n", "\(outcome.error)")
    }
}
