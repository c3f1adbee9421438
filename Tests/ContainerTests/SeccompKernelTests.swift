import CLinux
import Glibc
import OCISpec
import Synchronization
import Testing

@testable import Container
@testable import LinuxKernel

@Suite("Filters of system calls in the kernel")
struct SeccompKernelTests {
    private static let json = """
        {"ociVersion":"1.2.0","root":{"path":"r"},"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"},
        {"names":["rmdir"],"action":"SCMP_ACT_ERRNO","errnoRet":28},
        {"names":["lseek"],"action":"SCMP_ACT_ERRNO","errnoRet":95,
         "args":[{"index":1,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}}}
        """

    @Test("a loaded filter answers with the profile's errno, also for arguments above 2^63, and only its thread")
    func load() async throws {
        let spec = try Spec.decode(json: Array(Self.json.utf8), source: "config.json")
        try spec.validate(source: "config.json")
        let filter = try SeccompFilter(SeccompPlan(try #require(spec.linux?.seccomp)))
        // A filter is a thread's: this one ends with it.
        let errors: [Int32] = await withCheckedContinuation { continuation in
            detachThread("seccomp") {
                func error(_ call: () -> Int) -> Int32 { call() < 0 ? errno : 0 }
                guard clx_set_no_new_privileges() == 0, (try? filter.load()) != nil else {
                    return continuation.resume(returning: [])
                }
                continuation.resume(returning: [
                    error { Int(mkdir("/nowhere/x", 0o700)) }, error { Int(rmdir("/nowhere")) },
                    error { lseek(-1, -1, SEEK_SET) }, error { lseek(-1, 1, SEEK_SET) },
                ])
            }
        }
        #expect(errors == [EPERM, 28, 95, EBADF])
        #expect(rmdir("/nowhere") == -1 && errno == ENOENT)
    }

    @Test("startContainer hooks run under the filter, also without clone3(2), and have the container's environment")
    func hooks() async throws {
        var profile = Linux.Seccomp(defaultAction: "SCMP_ACT_ALLOW")
        profile.syscalls = [
            .init(names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: UInt32(ENOSYS)),
            .init(names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: UInt32(EXDEV)),
        ]
        let filter = try SeccompFilter(SeccompPlan(profile))
        let script = "[ \"$A\" = \"$1\" ] || exit 3; grep -q '^Seccomp:.2' /proc/self/status && ! mkdir /tmp/x.$$ 2>&1"
        func hook(_ expected: String, _ environment: [String]?) -> Hook {
            Hook(path: "/bin/sh", args: ["sh", "-c", script, "hook", expected], env: environment)
        }
        let path = "PATH=/bin:/usr/bin"
        let hooks = StartHooks(
            hooks: [hook("container's", nil), hook("container's", []), hook("own", [path, "A=own"])], state: State())
        var process = Process(args: ["a"])
        process.noNewPrivileges = true
        let plan = try ProcessPlan(process)
        let outcome: String = await withCheckedContinuation { continuation in
            detachThread("seccomp") {
                do {
                    try checkNegativeErrno("set", "no_new_privs", clx_set_no_new_privileges())
                    try ProcessSetup.finish(plan, filter, hooks, [path, "A=container's"])
                    continuation.resume(returning: "done")
                } catch { continuation.resume(returning: "\(error)") }
            }
        }
        #expect(outcome == "done")
    }
}
