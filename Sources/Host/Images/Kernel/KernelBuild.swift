import Digest
import Glibc
import LinuxKernel

/// A guest's kernel that is built from the distribution's sources. Its inputs decide its name, and each host builds a
/// name once.
package struct KernelBuild: Sendable, Equatable {
    /// The package with the sources, such as linux-source-6.1, and its version.
    package let source: String
    package let version: String
    /// The first line of `gcc --version`.
    package let compiler: String
    /// The lines for Kconfig.
    package let options: String
    package let patches: [KernelPatch]

    /// The version of the build steps below; a change of their result increments it.
    private static let recipe = 1

    /// - Parameter extra: files with further lines (`CONFIG_NAME=y`), which override the others.
    package init(
        source: String, version: String, compiler: String, extra: [String] = [],
        patches: [KernelPatch] = KernelPatch.all
    ) {
        self.source = source
        self.version = version
        self.compiler = compiler
        options = Self.options(extra)
        self.patches = patches
    }

    package static func options(_ extra: [String] = []) -> String {
        let further = KernelConfiguration(text: extra.joined(separator: "\n"))
        let own = KernelOption.all.filter { further.values[$0.name] == nil }.map(\.line)
        return (own + extra.flatMap { $0.split(separator: "\n").map(String.init) }).joined(separator: "\n") + "\n"
    }

    /// The first line of `gcc --version`.
    /// - Throws: `ImageError` when gcc is missing or fails.
    package static func installedCompiler() throws -> String {
        let words = try Program("/usr/bin/gcc", ["--version"]).run("ask the compiler for its version")
        return words.split(separator: "\n").first.map(String.init) ?? ""
    }

    /// The text of the file `inputs` beside the kernel.
    package var inputs: String {
        "source: \(source) \(version)\ncompiler: \(compiler)\nrecipe: \(Self.recipe)\n" + Self.ours(options, patches)
    }

    /// The lines of the inputs that depend on this program alone.
    private static func ours(_ options: String, _ patches: [KernelPatch]) -> String {
        "options: \(digest(options))\npatches: \(digest(patches.map(\.text).joined()))\n"
    }

    package var name: String { "own-" + Self.digest(inputs) }

    private static func digest(_ text: String) -> String { String(SHA512.hex(of: Array(text.utf8)).prefix(16)) }

    // MARK: The cache

    /// The directory of this kernel below `cache`, with vmlinux, config and inputs; nil before it is built.
    package func find(in cache: String) -> String? {
        let directory = cache + "/" + name
        return Files.exists(directory + "/vmlinux") ? directory : nil
    }

    /// The newest kernel below `cache` with these options and patches, of any version of the sources.
    package static func newest(in cache: String, extra: [String] = []) -> String? {
        let wanted = ours(options(extra), KernelPatch.all)
        func time(_ directory: String) -> Int {
            var status = stat()
            // SAFETY: stat(2) reads the path and fills the whole structure.
            return unsafe stat(directory + "/vmlinux", &status) == 0 ? status.st_mtim.tv_sec : 0
        }
        return Files.list(cache).filter { $0.hasPrefix("own-") }.map { cache + "/" + $0 }.filter { directory in
            Files.exists(directory + "/vmlinux")
                && ((try? Files.readText(directory + "/inputs")) ?? "").hasSuffix(wanted)
        }.max { time($0) < time($1) }
    }

    // MARK: The work

    /// Builds the kernel into `cache`. Needs a quarter of an hour of processor time, and 3 GB in `work`, which it
    /// removes.
    /// - Parameters:
    ///   - archive: the .deb of the package.
    ///   - progress: called with a text at each step.
    /// - Returns: the kernel's directory.
    /// - Throws: `ImageError` for an archive without sources, options that the kernel doesn't take, and a program that
    ///   is missing or fails. `SystemError` for a file that can't be read or written.
    package func run(
        archive: String, work: String, cache: String, jobs: Int, progress: (String) -> Void
    ) throws -> String {
        Files.removeTree(work)
        for directory in [work + "/tree", work + "/build", work + "/result"] {
            try Files.makeDirectory(directory, mode: 0o755)
        }
        defer { Files.removeTree(work) }
        progress("unpacking \(source) \(version)")
        try Program("/usr/bin/dpkg-deb", ["-x", archive, work + "/package"]).run("unpack \(archive)")
        let sources = work + "/package/usr/src"
        guard let tarball = Files.list(sources).first(where: { $0.hasPrefix("linux-source-") && $0.contains(".tar.") })
        else { throw ImageError("\(archive): holds no usr/src/linux-source-*.tar.xz") }
        try Program("/usr/bin/tar", ["-xf", "\(sources)/\(tarball)", "-C", work + "/tree", "--strip-components=1"]).run(
            "unpack \(tarball)")

        for patch in patches {
            progress("applying \(patch.name)")
            try Program("/usr/bin/patch", ["-p1", "-s", "-N", "-d", work + "/tree"]).run(
                "apply \(patch.name) to \(source) \(version)", input: Array(patch.text.utf8))
        }

        progress("configuring")
        try Files.write(work + "/options", options, mode: 0o644)
        let time = try Self.buildTime(of: "\(sources)/\(tarball)")
        try make(["KCONFIG_ALLCONFIG=\(work)/options", "allnoconfig"], work, time, within: Deadline.tool.limit)
        let configuration = try KernelConfiguration(file: work + "/build/.config")
        let dropped = KernelConfiguration(text: options).values.filter { configuration.values[$0.key] != $0.value }
        guard dropped.isEmpty else {
            throw ImageError(
                "\(source) \(version) doesn't take these options: "
                    + dropped.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: ", "))
        }

        progress("compiling, \(jobs) at a time; this takes a quarter of an hour of processor time")
        try make(["-j\(jobs)", "vmlinux"], work, time, within: Deadline.kernelBuild.limit)
        try Program("/usr/bin/strip", ["-s", "-o", work + "/result/vmlinux", work + "/build/vmlinux"]).run(
            "strip the kernel")
        try Files.write(work + "/result/config", try Files.read(work + "/build/.config"), mode: 0o644)
        try Files.write(work + "/result/inputs", inputs, mode: 0o644)

        // One step, so that a directory in the cache is always a complete kernel.
        try Files.makeDirectory(cache, mode: 0o755)
        let directory = cache + "/" + name
        let arriving = directory + ".new"
        Files.removeTree(arriving)
        try Program("/usr/bin/cp", ["-r", work + "/result", arriving]).run("copy the kernel to \(cache)")
        Files.removeTree(directory)
        // SAFETY: the call only reads the two paths.
        try check("rename", arriving) { unsafe rename(arriving, directory) }
        return directory
    }

    private func make(_ words: [String], _ work: String, _ time: String, within limit: Duration) throws {
        var program = Program(
            "/usr/bin/nice", ["/usr/bin/make", "-s", "-C", work + "/tree", "O=\(work)/build"] + words,
            // User, host and time become a part of the kernel: fixed ones keep it reproducible.
            set: [
                "KBUILD_BUILD_USER": "kata", "KBUILD_BUILD_HOST": "osbuilder", "KBUILD_BUILD_VERSION": "1",
                "KBUILD_BUILD_TIMESTAMP": time,
            ])
        program.limit = limit
        try program.run("build the kernel")
    }

    /// The time of the sources.
    private static func buildTime(of file: String) throws -> String {
        var status = stat()
        // SAFETY: stat(2) reads the path and fills the whole structure.
        try check("look at", file) { unsafe stat(file, &status) }
        // SAFETY: `parts` begins as zeros; gmtime_r(3) fills it, and strftime(3) writes at most `text.count` bytes.
        var parts = unsafe tm()
        unsafe gmtime_r(&status.st_mtim.tv_sec, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let length = unsafe strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S +0000", &parts)
        return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
