import OCISpec
import Testing

@testable import CommandLine

@Suite("The program of an exec")
struct FurtherProgramTests {
    private static var own: OCISpec.Process {
        var process = OCISpec.Process(args: ["/init"], cwd: "/home")
        process.env = ["PATH=/bin"]
        process.terminal = true
        process.consoleSize = .init(height: 1, width: 2)
        (process.user.uid, process.user.gid, process.user.additionalGids) = (5, 6, [7])
        return process
    }

    @Test("without options it has the container's directory, environment and user, and no terminal")
    func plain() throws {
        let process = try FurtherProgram(["--", "ls", "-l"], terminal: false, .init()).process(like: Self.own)
        #expect(process.args == ["ls", "-l"] && process.cwd == "/home" && process.env == ["PATH=/bin"])
        #expect(process.terminal == false && process.consoleSize == nil)
        #expect(process.user.uid == 5 && process.user.gid == 6 && process.user.additionalGids == [7])
    }

    @Test("options change the container's values, or add to them")
    func changes() throws {
        var changes = FurtherProgram.Changes()
        (changes.cwd, changes.env, changes.user, changes.additionalGids) = ("/tmp", ["A=1"], "8:9", [10])
        (changes.noNewPrivs, changes.processLabel, changes.apparmor) = (true, "label", "profile")
        let process = try FurtherProgram(["a"], terminal: true, changes).process(like: Self.own)
        #expect(process.cwd == "/tmp" && process.env == ["PATH=/bin", "A=1"] && process.terminal == true)
        #expect(process.user.uid == 8 && process.user.gid == 9 && process.user.additionalGids == [7, 10])
        #expect(process.noNewPrivileges == true && process.selinuxLabel == "label")
        #expect(process.apparmorProfile == "profile")
        changes.user = "8"
        #expect(try FurtherProgram(["a"], terminal: false, changes).process(like: Self.own).user.gid == 6)
    }

    @Test(
        "a user that is no number, and an empty command, are refused",
        arguments: ["", "root", "1:", ":1", "1:2:3", "-1"])
    func refused(_ user: String) {
        var changes = FurtherProgram.Changes()
        changes.user = user
        let error = #expect(throws: RuntimeError.self) {
            _ = try FurtherProgram(["a"], terminal: false, changes).process(like: Self.own)
        }
        #expect(error?.description == "--user \"\(user)\": expected UID or UID:GID, in numbers")
        #expect(throws: RuntimeError.self) { _ = try FurtherProgram(["--"], terminal: false, changes) }
    }
}
