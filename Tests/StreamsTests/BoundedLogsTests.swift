import Glibc
import LinuxKernel
import Testing

@testable import Streams

@Suite("logs of others")
struct BoundedLogsTests {
    @Test("a flood fills no disk: the last part is kept, and a small log is kept whole")
    func flood() throws {
        var template = Array("/tmp/kata-logs-XXXXXX".utf8CString)
        let directory = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        defer { Files.removeTree(directory) }
        let logs = try BoundedLogs()
        let (flood, small) = (directory + "/flood", directory + "/small")
        do {
            let end = try logs.open(flood, limit: 64 << 10)
            var command = Command(
                "/bin/sh", ["-c", "i=0; while [ $i -lt 60000 ]; do echo line $i of the flood; i=$((i+1)); done"])
            command.descriptors[1] = end.raw
            #expect(try ChildProcess(command).wait() == .exited(0))
            try logs.open(small).writeAll(Array("all of it\n".utf8), to: small)
        }
        logs.settle([flood, small], within: .longWait)
        #expect(try Files.readText(small) == "all of it\n")
        let text = try Files.readText(flood)
        #expect(text.hasSuffix("line 59999 of the flood\n") && text.utf8.count <= 64 << 10)
        #expect(try Files.read(flood + ".old").count <= 64 << 10)
        logs.stop()
    }
}
