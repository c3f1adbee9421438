import Glibc
import Streams
import TestSupport
import Testing

@testable import LinuxKernel

@Suite("Text of others, for terminals and logs")
struct PrintableTests {
    @Test("nothing of a text steers a terminal, ends a line, or changes the direction of what follows")
    func controls() {
        #expect("a\u{1b}[2Jb\nc\td\u{7f}e\0".printable() == "a [2Jb c d e ")
        #expect("\u{9b}31m\u{85}x\u{2028}y\u{202e}z\u{2066}".printable() == " 31m x y z ")
        #expect("Grüße, 世界 🙂".printable() == "Grüße, 世界 🙂")
        #expect("a\r\nb\tc\u{1b}".printable(keepsLines: true) == "a \nb\tc ")
        #expect(String(decoding: [0x61, 0xff, 0xc2, 0x9b], as: UTF8.self).printable() == "a\u{fffd} ")
    }

    @Test("a long text is cut between two characters")
    func cut() {
        #expect("abcdef".printable(limit: 6) == "abcdef")
        #expect("abcdefg".printable(limit: 6) == "abcdef…")
        #expect("aü世".printable(limit: 5) == "aü…")
        #expect(String(repeating: "x", count: 4 << 20).printable(limit: 10) == "xxxxxxxxxx…")
    }

    @Test("a log's last lines are shown without control characters")
    func tail() throws {
        let scratch = Scratch()
        let logs = try BoundedLogs()
        defer { logs.stop() }
        let path = scratch.path + "/log"
        try Files.write(path, "one\r\n\n\u{1b}[31mtwo\u{9b}\u{7f}\n" + String(repeating: "y", count: 500))
        #expect(logs.tail(path, lines: 3) == ["one", " [31mtwo", String(repeating: "y", count: 200) + "…"])
    }

    @Test("files that decide something are read only where root or this user alone can write them")
    func owners() throws {
        let scratch = Scratch()
        let path = scratch.path + "/f"
        try Files.write(path, "x")
        #expect(throws: Never.self) {
            _ = try FileOwner.open(path).raw
            try FileOwner.checkDirectory(scratch.path)
        }
        for mode: mode_t in [0o620, 0o602] {
            chmod(path, mode)
            #expect(throws: SystemError.self) { _ = try FileOwner.open(path).raw }
        }
        chmod(path, 0o600)
        symlink(path, scratch.path + "/l")
        #expect(throws: SystemError.self) { _ = try FileOwner.open(scratch.path + "/l").raw }
        chmod(scratch.path, 0o777)
        #expect(throws: SystemError.self) { try FileOwner.checkDirectory(scratch.path) }
        #expect(FileOwner.isTrusted(0) && FileOwner.isTrusted(geteuid()) && !FileOwner.isTrusted(geteuid() + 1))
    }

    @Test("another user's file is not trusted", .enabled(if: geteuid() == 0, "only root can give files away"))
    func strangers() throws {
        let scratch = Scratch()
        let path = scratch.path + "/f"
        try Files.write(path, "x")
        chown(path, 1000, 0)
        #expect(throws: SystemError.self) { _ = try FileOwner.open(path).raw }
        chown(scratch.path, 1000, 0)
        #expect(throws: SystemError.self) { try FileOwner.checkDirectory(scratch.path) }
    }
}
