import Foundation
import LinuxKernel
import ShimAPI
import Testing

/// Root file systems that a snapshotter has on block devices (devmapper) and in image files (blockfile). Debian's
/// containerd makes neither here, so our own client makes its calls.
@Suite(
    "root file systems on disks, with real guests", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct RootDiskTests {
    private func withImages(_ body: @Sendable (Lab) async throws -> Void) async throws {
        try await Lab.apart { try await self.prepared(body) }
    }

    private func prepared(_ body: @Sendable (Lab) async throws -> Void) async throws {
        let lab = try Lab()
        defer {
            _ = try? lab.sh(
                "losetup -j device | cut -d: -f1 | xargs -r losetup -d; losetup -j file | cut -d: -f1 | xargs -r losetup -d"
            )
            lab.remove()
        }
        try lab.sh("for i in device file; do truncate -s 24M $i; mke2fs -q -t ext4 -d rootfs $i; done").check()
        try await body(lab)
    }

    private func config(_ lab: Lab, _ script: String, sandbox: String? = nil) throws -> String {
        try lab.bundle(script)
        let kind = sandbox == nil ? "sandbox" : "container"
        let outcome = try lab.sh(
            """
            jq '.annotations = {"io.kubernetes.cri.container-type": "\(kind)", "io.kubernetes.cri.sandbox-id": "\(sandbox ?? "")"}
                | .root = {path: "rootfs"}' bundle/config.json
            """)
        try outcome.check()
        return outcome.output
    }

    @Test(
        "a disk that a snapshotter names is a container's root in the guest, and is the host's again when the container has gone",
        arguments: ["virtio-scsi", "virtio-blk"])
    func plugged(_ driver: String) async throws {
        try await withImages { lab in
            let pod = "t-root-\(driver.suffix(4))"
            try lab.sh(
                """
                sed -i 's/^default_vcpus/block_device_driver = "\(driver)"\\ndefault_vcpus/' configuration.toml
                losetup -f --show device > loop
                """
            ).check()
            let loop = try lab.sh("cat loop").output.split(separator: "\n").joined()
            let manager = try await Manager(lab, runtime: lab.configuration)
            let first = try await manager.shim(pod, config: try config(lab, "exec sleep 1000"))
            _ = try await first.create(rootfs: [Containerd_Types_Mount("bind", lab.rootfs, ["rbind", "rw"])])
            let machine = try lab.sh("cat /run/vc/vm/\(pod)/qemu.pid").output.split(separator: "\n").joined()
            try await first.start()
            func held(_ path: String) throws -> Bool {
                try lab.sh("ls -l /proc/\(machine)/fd | grep -c -e '-> \(path)$'").output != "0\n"
            }
            let script = #"grep " / " /proc/mounts | cut -d" " -f3; echo kept > /file; echo ready; sleep 0.2; exit 4"#
            for (name, image) in [
                (pod + "-a", Containerd_Types_Mount("ext4", loop, [])),
                (pod + "-b", Containerd_Types_Mount("ext4", lab.directory + "/file", ["rw", "loop"])),
            ] {
                let member = try await manager.shim(name, config: try config(lab, script, sandbox: pod))
                #expect(member.socket == first.socket)
                _ = try await member.create(rootfs: [image])
                #expect(try held(image.source))
                try await member.start()
                #expect(try await member.delete() == 4)
                try await member.wait(for: "ready")
                #expect(member.output == "ext4\nready\n")
                #expect(try !held(image.source), "\(image.source)")
                await member.client.close()
            }
            // No other process uses the disk now: the host reads the container's data.
            try lab.sh("losetup -d $(cat loop); [ -z \"$(losetup -j device)$(losetup -j file)\" ]").check()
            #expect(
                try lab.sh("for i in device file; do debugfs -R 'cat file' $i; done 2> /dev/null").output
                    == "kept\nkept\n")
            try await first.kill(9)
            #expect(try await first.delete() == 137)
            try await first.shutdown()
            #expect(
                try lab.sh("grep -c 'not taken back' tasks/log; grep -c '[t]asks/\(pod)' /proc/mounts").output
                    == "0\n0\n")
            #expect(try lab.leftovers(pod) == "")
        }
    }

    @Test("with disable_block_device_use it is mounted on the host and shared, and no loop device stays")
    func shared() async throws {
        try await withImages { lab in
            try lab.sh("sed -i 's/^default_vcpus/disable_block_device_use = true\\ndefault_vcpus/' configuration.toml")
                .check()
            let manager = try await Manager(lab, runtime: lab.configuration)
            let only = try await manager.shim(
                "t-root-host", config: try config(lab, #"grep " / " /proc/mounts | cut -d" " -f3; echo kept > /file"#))
            _ = try await only.create(rootfs: [Containerd_Types_Mount("ext4", lab.directory + "/file", ["loop"])])
            #expect(try lab.sh("losetup -j file | wc -l").output == "1\n")
            try await only.start()
            #expect(try await only.delete() == 0)
            try await only.wait(for: "virtiofs")
            try await only.shutdown()
            #expect(
                try lab.sh("losetup -j file | wc -l; debugfs -R 'cat file' file 2> /dev/null").output == "0\nkept\n")
            #expect(try lab.leftovers("t-root-host") == "")
        }
    }
}
