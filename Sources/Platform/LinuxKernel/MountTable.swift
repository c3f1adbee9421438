/// A line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
package struct MountEntry: Sendable, Equatable {
    /// The mount's number in its namespace, as in /proc/PID/fdinfo.
    package let id: Int
    /// Major and minor number of the file system's device, such as `0:29`.
    package let device: String
    /// The directory of the file system that is mounted, such as `/`.
    package let root: String
    /// An absolute path. Blanks, newlines and backslashes stand there as they are.
    package let mountPoint: String
    /// Options of the mount, such as `rw` or `nosuid`.
    package let options: [String]
    /// Such as `ext4` or `cgroup2`.
    package let type: String
    package let source: String
    /// Options of the file system, such as `rw` or `memory` in cgroup version 1.
    package let superOptions: [String]

    /// - Returns: nil when the line has not all fields.
    init?(_ line: Substring) {
        let fields = line.split(separator: " ")
        guard let dash = fields.dropFirst(6).firstIndex(of: "-"), fields.count > dash + 3, let id = Int(fields[0])
        else { return nil }
        self.id = id
        device = String(fields[2])
        root = unescaped(fields[3])
        mountPoint = unescaped(fields[4])
        options = fields[5].split(separator: ",").map(String.init)
        type = String(fields[dash + 1])
        source = unescaped(fields[dash + 2])
        superOptions = fields[dash + 3].split(separator: ",").map(String.init)
    }
}

/// The mounts of a mount namespace.
package enum MountTable {
    /// Reads the mounts that a process sees, in the order of mounting.
    /// - Parameter process: a pid, or `self`.
    /// - Throws: when /proc can't be read, or there is no such process.
    package static func read(of process: String = "self") throws(SystemError) -> [MountEntry] {
        parse(try Files.readText("/proc/\(process)/mountinfo"))
    }

    /// A function that reads the mounts when it is first called, and answers with them from then on: none if they can't
    /// be read.
    package static func once(of process: String = "self") -> @Sendable () -> [MountEntry] {
        let mounts = OneShot<[MountEntry]>()
        return {
            if mounts.value == nil { mounts.complete((try? read(of: process)) ?? []) }
            return mounts.value ?? []
        }
    }

    /// Parses the text of a mountinfo file; incomplete lines are left out.
    package static func parse(_ text: String) -> [MountEntry] {
        text.split(separator: "\n").compactMap { MountEntry($0) }
    }

    /// The mount points at which one of two namespaces has a mount that the other lacks.
    package static func difference(_ one: [MountEntry], _ other: [MountEntry]) -> Set<String> {
        let difference = Set(one.map(Place.init)).symmetricDifference(other.map(Place.init))
        return Set(difference.map(\.mountPoint))
    }

    /// The mount point of the first mount of `one` that `other` lacks; nil when there is none.
    package static func firstMissing(of one: [MountEntry], in other: [MountEntry]) -> String? {
        let seen = Set(other.map(Place.init))
        return one.first { !seen.contains(Place($0)) }?.mountPoint
    }

    /// The fields of a mount that are the same in every namespace. Its id and its parent's differ.
    private struct Place: Hashable {
        let device: String
        let root: String
        let mountPoint: String

        init(_ entry: MountEntry) { (device, root, mountPoint) = (entry.device, entry.root, entry.mountPoint) }
    }
}

/// Replaces `\\040` and the like, which the kernel writes for blank, tab, newline and backslash (proc_pid_mounts(5)).
private func unescaped(_ field: Substring) -> String {
    guard field.utf8.contains(UInt8(ascii: "\\")) else { return String(field) }
    var bytes: [UInt8] = []
    var rest = Array(field.utf8)[...]
    while let byte = rest.popFirst() {
        let digits = rest.prefix(3)
        if byte == UInt8(ascii: "\\"), digits.count == 3,
            let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
        {
            bytes.append(value)
            rest = rest.dropFirst(3)
        } else {
            bytes.append(byte)
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
