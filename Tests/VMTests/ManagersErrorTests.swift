import Testing

extension ManagersTests {
    /// A shell function that prints a command's status and its first line of error, without parts that differ from
    /// run to run.
    static let first = #"""
        first() {
            "$@" > said 2>&1; echo "$?$(head -1 said | tr -d '\r' | sed -E "s#$PWD#.#g; s#[^ ]*/config.json#config.json#; s/[0-9a-f]{64}/ID/g;
                s/^.*(create|exec|start) failed: //; s/^.*exit status 1: (.*); see .*/\1/; s/^Error: (OCI runtime error: )?\./Error: ./; s/^/ /")"
        }
        """#

    @Test("Docker: our refusals are whole in its message, and choose its exit status as under runc")
    func dockerErrors() throws {
        let outcome = try withDocker(
            Self.first + #"""

                first run busybox nope; first run busybox /nope; first run busybox /etc/passwd
                first run -v $PWD/kata:/bin busybox true; first run -v /dev/tty0:/t busybox true; first run --sysctl net.nope=1 busybox true
                d run -d --name runs --runtime kata busybox sleep 1000 > /dev/null
                first d checkpoint create runs one
                first d exec runs nope; first d exec runs /etc; first d exec -w /nope runs true; first d exec -u nope runs true; first d exec runs sh -c 'exit 42'
                """#)
        #expect(
            outcome.output == """
                127 exec: "nope": executable file not found in $PATH: unknown
                127 execute /nope: no such file or directory: unknown
                126 execute /etc/passwd: permission denied: unknown
                125 mount ./kata on /bin: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type
                125 config.json: mounts[7].source: /dev/tty0 (c 4:0) belongs to the host and is not in the guest: unknown
                127 open /proc/sys/net/nope: no such file or directory: unknown
                1 checkpoint is not possible: the processes of a container are those of a machine, which CRIU can't reach
                126 exec: "nope": executable file not found in $PATH: unknown
                126 execute /etc: permission denied: unknown
                126 change to directory (process.cwd) /nope: no such file or directory: unknown
                126 unable to find user nope: no matching entries in passwd file
                42

                """, "\(outcome.error)")
    }

    @Test("Podman: our refusals are whole in its message, and choose its exit status as under runc")
    func podmanErrors() throws {
        let outcome = try withPodman(
            Self.first + #"""

                run() { p run --rm "$@"; }
                first run busybox nope; first run busybox /etc/passwd; first run --device /dev/tty0 busybox true; first run --network host busybox true
                p run -d --name runs busybox sleep 1000 > /dev/null
                first p exec runs nope; first p exec runs /etc; first p exec -w /nope runs true; first p exec runs sh -c 'exit 42'
                """#)
        let missing = "OCI runtime attempted to invoke a command that was not found"
        #expect(
            outcome.output == """
                127 Error: ./kata: exec: "nope": executable file not found in $PATH: \(missing)
                126 Error: ./kata: execute /etc/passwd: permission denied: OCI permission denied
                126 Error: ./kata: config.json: linux.devices[0]: /dev/tty0 (c 4:0) belongs to the host and is not in the guest
                126 Error: ./kata: config.json: linux.namespaces: host networking is not possible: a machine has a network of its own; give the container a network namespace, or publish its ports
                127 Error: ./kata: exec: "nope": executable file not found in $PATH: \(missing)
                126 Error: ./kata: execute /etc: permission denied: OCI permission denied
                127 Error: ./kata: change to directory (process.cwd) /nope: no such file or directory: \(missing)
                42

                """, "\(outcome.error)")
    }
}
