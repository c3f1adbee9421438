import Foundation
import Testing

/// Guests other than the default. A guest that fails leaves only a console log or an error line.
@Suite(
    "Kernels, initrds and images of one's own", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct GuestTests {
    private func withLab(_ body: (Lab) throws -> Void) throws {
        let lab = try Lab()
        defer { lab.remove() }
        try body(lab)
    }

    private let builder = "\(Lab.source ?? "")/.build-release/release/kata-osbuilder"
    private let agent = "\(Lab.source ?? "")/.build-release/release/kata-agent"

    /// Changes configuration.toml: the guest's root, and the lines of tables.
    private func configure(_ lab: Lab, image: String? = nil, hypervisor: String = "", agent: String = "") throws {
        let root = image.map { "s|^initrd = .*|image = \"\($0)\"|" } ?? ""
        let outcome = try lab.sh(
            """
            sed -i -e '\(root)' -e 's|^\\[hypervisor.qemu\\]|&\\n\(hypervisor)|' -e 's|^\\[agent.kata\\]|&\\n\(agent)|' configuration.toml
            """)
        #expect(outcome.status == 0, "\(outcome.error)")
    }

    @Test(
        "an annotation that is enabled gives a pod its own initrd, with its hash; others are refused in one line; the debug console is a shell of the guest"
    )
    func perPodAssets() throws {
        try withLab { lab in
            try configure(
                lab,
                hypervisor:
                    #"enable_annotations = ["initrd.*", "^kernel_params$"]\nvalid_initrd_paths = ["\#(lab.directory)/*.img"]"#,
                agent: "debug_console_enabled = true")
            try lab.bundle("echo here; cat /proc/cmdline; sleep 99")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                modules=$(sed -n 's/^debian //p' \(Lab.source!)/out/guest/kernel)
                \(builder) initrd --agent \(agent) --debug-shell --add bundle/config.json:/etc/added \
                    ${modules:+--modules \(Lab.source!)/$modules/lib/modules/*} -o other.img || exit 9
                annotate() { jq --arg key "io.katacontainers.config.hypervisor.$1" --arg value "$2" '.annotations[$key] = $value' bundle/config.json > c && mv c bundle/config.json; }
                cp bundle/config.json plain.json
                annotate initrd $PWD/other.img; annotate kernel_params 'quiet marked=yes'
                annotate initrd_hash $(sha512sum other.img | cut -d' ' -f1)
                k create -b bundle t-asset < /dev/null > out 2>&1 && k start t-asset
                for i in $(seq 400); do grep -q marked out && break; sleep 0.1; done
                cat out | grep -c -e here -e marked=yes
                echo 'cat /etc/added | wc -c; cat /proc/1/comm; tty; exit 3' | k exec t-asset > console
                tr -d '\\r' < console | grep -c -e "^$(wc -c < plain.json)$" -e '^init$' -e '^/dev/pts/'
                k exec --kata-debug-port 7 t-asset
                k delete --force t-asset
                k exec t-asset
                annotate initrd_hash 0123456789abcdef0123; k run -b bundle t-asset
                cp plain.json bundle/config.json; annotate kernel $PWD/other.img; k run -b bundle t-asset
                """)
            #expect(outcome.output == "2\n3\n", "\(outcome.output)\(outcome.error)")
            let errors = outcome.error.split(separator: "\n").map(String.init)
            #expect(errors.count == 4, "\(outcome.error)")
            for (line, words) in zip(
                errors,
                [
                    "the guest's debug console is on port 1026", "there is no sandbox \"t-asset\"",
                    "other.img has the SHA-512 ",
                    "not enabled: hypervisor.qemu.enable_annotations (",
                ])
            { #expect(line.contains(words), "\(line)") }
            #expect(try lab.leftovers("t-asset") == "")
        }
    }

    @Test("kata-collect-data.sh prints the sections of Kata's, with the metadata of the initrd that is used")
    func collectData() throws {
        try withLab { lab in
            let outcome = try lab.sh(
                """
                mkdir bin && ln -s \(lab.binaries)/* bin/ && cp \(Lab.source!)/scripts/kata-collect-data.sh bin/
                [ -d /etc/kata-containers ] || { mkdir /etc/kata-containers && trap 'rmdir /etc/kata-containers' EXIT; }
                mount --bind $PWD /etc/kata-containers
                bin/kata-collect-data.sh > report; echo $?
                umount /etc/kata-containers
                awk '/^```/ {inside = !inside} /^# / && !inside' report; sed -n '/osbuilder:/,/```/p' report | grep -E 'description:|agent-is-init-daemon:'
                """)
            #expect(
                outcome.output == """
                    0
                    # Meta details
                    # Runtime
                    # `kata-env`
                    # Runtime config files
                    # Containerd shim v2
                    # KSM throttler
                    # Image details
                    # Initrd details
                    # Logfiles
                    # Container manager details
                    # Packages
                    # Kata Monitor
                    description: "Kata Containers guest"
                      agent-is-init-daemon: "yes"

                    """, "\(outcome.output)\(outcome.error)")
        }
    }

    @Test(
        "a guest without a shell says so on its debug console; a guest without an agent is distinguished from a lost one"
    )
    func noShell() throws {
        try withLab { lab in
            try configure(lab, agent: "debug_console_enabled = true")
            try lab.bundle("sleep 99")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                k create -b bundle t-shell < /dev/null > /dev/null 2>&1
                k exec t-shell < /dev/null
                k delete --force t-shell
                head -c 20000 /bin/busybox > damaged
                \(builder) initrd --agent damaged -o damaged.img
                sed -i "s|^initrd = .*|initrd = \\"$PWD/damaged.img\\"|" configuration.toml
                k run -b bundle t-shell
                """)
            #expect(outcome.output.contains("the image has no shell (kata-osbuilder --debug-shell adds one)"))
            #expect(
                outcome.error.split(separator: "\n").count == 1
                    && outcome.error.contains("damaged.img died: build it anew"), "\(outcome.error)")
            #expect(try lab.leftovers("t-shell") == "")
        }
    }

    @Test(
        "an image with the agent as init: EROFS read in place, ext4 as a disk",
        .enabled(if: Lab.ownKernelObstacle == nil, "\(Lab.ownKernelObstacle ?? "")"))
    func images() throws {
        try withLab { lab in
            try configure(lab, image: lab.directory + "/guest.img", agent: "debug_console_enabled = true")
            try lab.bundle("echo inside; cat /proc/self/mountinfo | wc -l; sleep 99")
            for (format, line, expected) in [
                ("erofs", "", "/dev/root / erofs ro,relatime,user_xattr,acl,cache_strategy=readaround,dax=always 0 0"),
                ("ext4", "disable_image_nvdimm = true", "/dev/root / ext4 ro,relatime 0 0"),
            ] {
                try configure(lab, hypervisor: line)
                let outcome = try lab.sh(
                    """
                    k() { \(lab.kata) "$@"; }
                    \(builder) image --agent \(agent) --debug-shell --format \(format) -o guest.img || exit 9
                    k create -b bundle t-image < /dev/null > out && k start t-image
                    echo 'head -1 /proc/mounts; exit' | k exec t-image | tr -d '\\r' | grep '^/dev/root'
                    for i in $(seq 400); do grep -q inside out && break; sleep 0.1; done; grep -c inside out
                    k delete --force t-image
                    """)
                #expect(outcome.output == expected + "\n1\n", "\(outcome.output)\(outcome.error)")
                #expect(outcome.error == "")
            }
            let damaged = try lab.sh(
                """
                dd if=/dev/urandom of=guest.img bs=4k seek=300 count=$(($(stat -c %s guest.img) / 4096 - 400)) conv=notrunc 2> /dev/null
                \(lab.kata) run -b bundle t-image
                """)
            #expect(
                damaged.error.split(separator: "\n").count == 1 && damaged.error.contains("build it anew"),
                "\(damaged.error)")
            #expect(try lab.leftovers("t-image") == "")
        }
    }

    @Test(
        "an image with systemd as init: the agent is a unit, containers run, the root is not written to",
        .enabled(if: Lab.ownKernelObstacle == nil, "\(Lab.ownKernelObstacle ?? "")"))
    func systemd() throws {
        try withLab { lab in
            try configure(lab, image: lab.directory + "/guest.img", agent: "debug_console_enabled = true")
            try lab.bundle("echo inside; cat /proc/1/comm; sleep 99")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                \(builder) image --init systemd --rootfs \(Lab.source!)/out/systemd-rootfs --agent \(agent) -o guest.img 2> log || exit 9
                sha512sum < guest.img > before
                k create -b bundle t-systemd < /dev/null > out && k start t-systemd
                echo 'echo; cat /proc/1/comm; systemctl is-active kata-agent; systemctl --failed --no-legend | wc -l; exit' |
                    k exec t-systemd | tr -d '\\r' | grep -x -e systemd -e active -e 0
                cat out
                k delete --force t-systemd
                sha512sum < guest.img | cmp - before
                """)
            #expect(outcome.output == "systemd\nactive\n0\ninside\nsh\n", "\(outcome.output)\(outcome.error)")
            #expect(try lab.leftovers("t-systemd") == "")
        }
    }
}
