import Foundation
import Testing

/// Effects of an image, or of a container's process, on later containers and processes in the same guest.
@Suite(
    "hostile images and neighbours with real guests", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct HostileImageTests {
    @Test("a process that becomes a container's first, or joins one, can't be traced or read by its neighbours")
    func stages() throws {
        let lab = try Lab()
        defer { lab.remove() }
        // The first container waits until a second one has its processes and has not started; then it looks for
        // programs that join.
        try lab.bundle(
            "echo ready; while [ ! -e /tmp/look ]; do sleep 0.1; done; snoop 0; echo ===; snoop 12; echo end; sleep 100"
        )
        let outcome = try lab.sh(
            """
            gcc -static -O2 -o rootfs/bin/snoop \(Lab.source!)/Tests/VMTests/attack/snoop.c || exit
            jq '.root.readonly = false' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            k create -b bundle t-stage > out 2>&1 < /dev/null && k start t-stage || cat out
            for i in $(seq 400); do grep -q ready out && break; sleep 0.1; done
            pid=$(k state t-stage | jq .pid); mkdir other
            jq ".linux.namespaces |= map(if .type == \\"pid\\" then .path = \\"/proc/$pid/ns/pid\\" elif .type == \\"network\\" then .path = \\"/proc/$pid/ns/net\\" else . end)
                | .process.args = [\\"/bin/true\\"]" bundle/config.json > other/config.json
            k create -b other t-neighbour > out2 2>&1 < /dev/null || cat out2
            k exec t-stage touch /tmp/look < /dev/null
            for i in $(seq 15); do k exec t-stage true < /dev/null; done
            for i in $(seq 400); do grep -q end out && break; sleep 0.1; done
            cat out; k delete --force t-neighbour; k delete --force t-stage
            """)
        let parts = outcome.output.components(separatedBy: "===\n")
        #expect(parts.first == "ready\nstages seen\n", "\(outcome.output) \(outcome.error)")
        #expect(["stages seen\nend\n", "stages missed\nend\n"].contains(parts.last ?? ""), "\(outcome.output)")
        #expect(try lab.leftovers("t-stage") == "")
    }

    @Test("the agent is no program of a container, and its file can't be written through a process that runs it")
    func agentFile() throws {
        let lab = try Lab()
        defer { lab.remove() }
        // A script with the agent as its interpreter: the kernel opens it, so that no check of ours can refuse it.
        try lab.bundle("exec 2>&1; echo ready; snoop 30 write; sleep 100")
        let outcome = try lab.sh(
            """
            gcc -static -O2 -o rootfs/bin/snoop \(Lab.source!)/Tests/VMTests/attack/snoop.c || exit
            printf '#!/proc/self/exe\\n' > rootfs/bin/script; chmod 755 rootfs/bin/script
            k() { \(lab.kata) "$@"; }
            k create -b bundle t-agent > out 2>&1 < /dev/null && k start t-agent || cat out
            for i in $(seq 400); do grep -q ready out && break; sleep 0.1; done
            for i in $(seq 10); do k exec t-agent /bin/script < /dev/null > /dev/null 2>&1; grep -q write out && break; done
            k exec t-agent /proc/self/exe < /dev/null
            grep write out; k delete --force t-agent
            jq '.process.args = ["/proc/self/exe"]' bundle/config.json > c && mv c bundle/config.json
            k run -b bundle t-agent < /dev/null; echo $?
            """)
        #expect(outcome.output == "write: Read-only file system\n1\n", "\(outcome.output) \(outcome.error)")
        let refusal = "execute /proc/self/exe: it is the guest's agent: name a program of the container"
        #expect(outcome.error.split(separator: "\n").map(String.init) == [refusal, refusal], "\(outcome.error)")
        #expect(try lab.leftovers("t-agent") == "")
    }

    @Test("links that an image has in place of /dev/null, of masked files' directories and of consoles lead nowhere")
    func devices() throws {
        let outcome = try Lab.run(
            """
            exec 2>&1; stat -c '%F %t:%T' /dev/null /dev/zero; cat /proc/version | wc -c; ls /proc/bus | wc -l; ls /sys/firmware | wc -l
            echo x > /proc/sys/kernel/hostname; ls /secret | wc -l
            """,
            """
            .mounts |= map(select(.destination | startswith("/dev") | not)) | .root.readonly = false
            | .linux.maskedPaths += ["/proc/version", "/proc/bus", "/secret"]
            """, id: "t-links",
            before:
                "ln -s /proc/version rootfs/dev/null; echo x > rootfs/dev/zero; mkdir -p rootfs/hidden/a; ln -s hidden rootfs/secret"
        )
        #expect(
            outcome.output == """
                character special file 1:3
                character special file 1:5
                0
                0
                0
                /bin/sh: can't create /proc/sys/kernel/hostname: Read-only file system
                0

                """, "\(outcome.output) \(outcome.error)")
    }

    @Test(
        "an image whose /proc or /sys is no ordinary directory is refused, by the mount's name and what is there",
        arguments: [
            ("rmdir rootfs/proc; ln -s /tmp rootfs/proc", "mount proc on /proc: /proc is a symbolic link to /tmp: "),
            ("rmdir rootfs/sys; touch rootfs/sys", "mount sysfs on /sys: /sys is a file: "),
        ])
    func kernelFiles(before: String, words: String) throws {
        let outcome = try Lab.run("true", ".", id: "t-linked", before: before)
        #expect(outcome.status == 1)
        #expect(
            outcome.error == words + "an ordinary directory is needed, reached without links\n", "\(outcome.error)")
    }
}
