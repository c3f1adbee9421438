import Glibc
import LinuxKernel

/// A file system image for a guest's root: ext4, or EROFS, which is smaller and reproducible.
package enum DiskImage {
    package enum Format: String, Sendable, CaseIterable { case ext4, erofs }

    /// An arbitrary id; a fixed one keeps the image reproducible.
    private static let uuid = "6b617461-0000-4000-8000-000000000001"
    /// The granularity of persistent memory (drivers/nvdimm) in bytes: an image of another size has no DAX.
    static let granule = 2 << 20

    /// Makes `output` of a directory's files, which belong to root in the image, also when another user makes it.
    /// - Throws: when a program is missing or fails; the image is removed then.
    static func make(_ format: Format, of directory: String, output: String) throws {
        let arriving = output + ".new"
        // SAFETY: the calls only read their paths.
        unsafe unlink(arriving)
        do {
            switch format {
            case .erofs: try makeEROFS(directory, arriving)
            case .ext4: try makeExt4(directory, arriving)
            }
            try pad(arriving)
            try check("rename", arriving) { unsafe rename(arriving, output) }
        } catch {
            unsafe unlink(arriving)
            throw error
        }
    }

    private static func makeEROFS(_ directory: String, _ output: String) throws {
        // Not compressed: DAX needs pages that can be mapped in place.
        try Program(
            "/usr/bin/mkfs.erofs",
            ["--quiet", "-T\(Metadata.epoch)", "-U", uuid] + (getuid() == 0 ? [] : ["--all-root"]) + [
                output, directory,
            ]
        ).run("make an EROFS image")
    }

    private static func makeExt4(_ directory: String, _ output: String) throws {
        let usage = try Program("/usr/bin/du", ["--apparent-size", "--block-size=4096", "--summarize", directory])
            .run("measure \(directory)")
        let inodes = try Program("/usr/bin/du", ["--inodes", "--summarize", directory]).run("measure \(directory)")
        func number(_ text: String) -> Int { Int(text.prefix { $0.isNumber }) ?? 0 }
        let files = number(inodes)
        // The files with a partial block each, the inodes, and a tenth more for the tables.
        let bytes = (number(usage) + files) * 4096 + files * 256
        let size = bytes + bytes / 10 + (4 << 20)
        // In a user namespace where the user is root, the files belong to root.
        let prefix = getuid() == 0 ? [] : ["/usr/bin/unshare", "--map-root-user"]
        let words =
            prefix + [
                "/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", directory, "-U", uuid, "-E",
                "hash_seed=\(uuid),root_owner=0:0,nodiscard", "-O", "^has_journal,^resize_inode", "-m", "0", "-N",
                "\(files + 64)", "-L", "kata", output, "\(size / 1024)k",
            ]
        try Program(words[0], Array(words.dropFirst()), set: ["E2FSPROGS_FAKE_TIME": "\(max(1, Metadata.epoch))"]).run(
            "make an ext4 image")
        try setTimes(directory, output)
    }

    /// Sets all times: mke2fs copies them, and the image would not be reproducible.
    private static func setTimes(_ directory: String, _ image: String) throws {
        var script = ""
        func visit(_ path: String) throws {
            for field in ["mtime", "atime", "ctime"] {
                script += "sif \"\(path)\" \(field) @\(Metadata.epoch)\nsif \"\(path)\" \(field)_extra 0\n"
            }
            let source = directory + path
            guard !Files.isLink(source), Files.isDirectory(source) else { return }
            for name in try Files.names(in: source) { try visit(path == "/" ? "/" + name : path + "/" + name) }
        }
        try visit("/")
        let commands = image + ".times"
        // SAFETY: the call only reads the path.
        defer { unsafe unlink(commands) }
        try Files.write(commands, script)
        try Program("/sbin/debugfs", ["-w", "-f", commands, image]).run("set the times in an ext4 image")
    }

    /// Rounds up to a whole granule.
    private static func pad(_ file: String) throws {
        var status = stat()
        // SAFETY: stat(2) reads the path and fills the whole structure; truncate(2) only reads the path.
        try check("look at", file) { unsafe stat(file, &status) }
        let size = (Int(status.st_size) + granule - 1) / granule * granule
        try check("lengthen", file) { unsafe truncate(file, size) }
    }
}

extension GuestImage {
    /// Writes a root file system with the agent as process 1.
    /// - Throws: `ImageError` for a program that is missing or fails. `SystemError` for a file that can't be read or
    ///   written.
    package func disk(_ format: DiskImage.Format, output: String) throws {
        let staging = output + ".files"
        Files.removeTree(staging)
        defer { Files.removeTree(staging) }
        try Files.makeDirectory(staging, mode: 0o755)
        try tree(initPath: "sbin/init", metadata: Metadata(self)).write(below: staging)
        try DiskImage.make(format, of: staging, output: output)
    }
}
