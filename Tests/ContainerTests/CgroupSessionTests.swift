import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Container

@Suite("Sessions in a container's cgroup", .timeLimit(.minutes(5)))
struct CgroupSessionTests {
    @Test("a session is killed with what its first process has started; another one goes on")
    func killed() async throws {
        let scratch = Scratch()
        func start(_ script: String, output: Int32) throws -> ChildProcess {
            var command = Command("/bin/sh", ["-c", script])
            command.newSession = true
            command.descriptors[1] = output
            return try ChildProcess(command)
        }
        let pipe = try Pipe()
        let (first, other) = (
            try start("sleep 1000 & echo $!; wait", output: pipe.writeEnd.raw),
            try start("sleep 1000", output: pipe.writeEnd.raw)
        )
        var line = [UInt8](repeating: 0, count: 20)
        let count = read(pipe.readEnd.raw, &line, line.count)
        let started = try #require(
            Int32(String(decoding: line.prefix(max(0, count)), as: UTF8.self).filter(\.isNumber)))
        let grandchild = try #require(ProcessIdentity(started))
        try Files.makeDirectory(scratch.path + "/c")
        try Files.write(scratch.path + "/c/cgroup.procs", "\(first.pid)\n\(started)\n\(other.pid)\n")
        try Cgroup("c", root: scratch.path).killAll(ofSession: first.pid)
        #expect(first.wait().status == 128 + SIGKILL)
        try await eventually { grandchild.life == .ended }
        #expect(ProcessIdentity(other.pid)?.life == .running)
        other.signal(SIGKILL)
        _ = other.wait()
    }
}
