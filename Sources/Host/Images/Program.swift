import CLinux
import Glibc
import LinuxKernel

/// A program of the host that makes a part of an image.
struct Program {
    private var command: Command
    /// The maximum run time.
    var limit = Deadline.tool.limit

    init(
        _ executable: String, _ arguments: [String] = [], directory: String? = nil,
        set variables: [String: String] = [:]
    ) {
        command = Command(executable, arguments)
        command.mayDumpCore = true
        command.directory = directory
        command.set("LC_ALL", "C")
        for (name, value) in variables { command.set(name, value) }
    }

    /// Runs the program to its end.
    /// - Throws: with its output as the reason when it fails.
    @discardableResult
    func run(_ task: String, input: [UInt8] = []) throws -> String {
        let (end, output) = try launch(task) { try command.run(input: input, within: limit) }
        guard end == .exited(0) else { throw failure(task, end, output) }
        return output
    }

    /// Runs the program and returns its standard output.
    func output(input: [UInt8], accepting: (ProcessExit) -> Bool = { $0 == .exited(0) }, task: String) throws -> [UInt8]
    {
        // SAFETY: the call only reads the label.
        let result = unsafe FileDescriptor(owning: try checkNegativeErrno("make", "output", clx_memory_file("output")))
        var command = command
        command.descriptors[1] = result.raw
        let (end, text) = try launch(task) { try command.run(input: input, within: limit, collecting: [2]) }
        guard accepting(end) else { throw failure(task, end, text) }
        lseek(result.raw, 0, SEEK_SET)
        return try result.readAll("output of \(command.executable)", limit: 1 << 30)
    }

    private func launch<Result>(_ task: String, _ body: () throws -> Result) throws -> Result {
        do { return try body() } catch let error as SystemError where error.code == ENOENT {
            throw ImageError("\(task): \(command.executable) is missing\(Self.package(of: command.executable))")
        }
    }

    private func failure(_ task: String, _ end: ProcessExit, _ output: String) -> ImageError {
        let words = output.split(separator: "\n").suffix(3).joined(separator: " | ")
        return ImageError("\(task): \(command.executable) \(end)\(words.isEmpty ? "" : ": " + words)")
    }

    /// The Debian package that has a program.
    private static func package(of program: String) -> String {
        let packages = [
            "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs", "mkfs.erofs": "erofs-utils", "debootstrap": "debootstrap",
            "zstd": "zstd", "xz": "xz-utils", "make": "make", "dpkg-deb": "dpkg", "strip": "binutils", "patch": "patch",
        ]
        return packages[Files.name(of: program)].map { "; install \($0)" } ?? ""
    }
}
