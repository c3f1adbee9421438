import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import ShimAPI

extension Containerd_Types_Mount {
    /// Whether the snapshotter wants the owners of the files changed, for a container with a user namespace.
    var mapsOwners: Bool { options.contains { $0.hasPrefix(MappedMount.users) || $0.hasPrefix(MappedMount.groups) } }
}

/// A snapshotter's mount that shows other owners than its files have (containerd 2, options `uidmap` and `gidmap`).
///
/// Changes only the lower layers of an overlay: the upper one is the container's own, with its owners.
struct MappedMount {
    static let users = "uidmap="
    static let groups = "gidmap="
    private static let lower = "lowerdir="

    private let mount: Containerd_Types_Mount
    private let owners: OwnerMap
    private let options: [String]

    /// - Throws: `SandboxError` for ranges that are not numbers, or ids of one kind only.
    init(_ mount: Containerd_Types_Mount) throws(SandboxError) {
        func ranges(_ prefix: String) throws(SandboxError) -> [OwnerMap.Range] {
            var ranges: [OwnerMap.Range] = []
            for option in mount.options where option.hasPrefix(prefix) {
                for text in option.dropFirst(prefix.utf8.count).split(separator: ",") {
                    let numbers = text.split(separator: ":", omittingEmptySubsequences: false).compactMap { UInt32($0) }
                    guard numbers.count == 3, numbers[2] > 0 else {
                        throw SandboxError(.invalid, "rootfs: \"\(option)\" is no list of id:id:count")
                    }
                    ranges.append(OwnerMap.Range(first: numbers[0], shown: numbers[1], count: numbers[2]))
                }
            }
            guard !ranges.isEmpty else {
                throw SandboxError(.invalid, "rootfs: \"\(prefix)\" is missing: ids are mapped by both lists")
            }
            return ranges
        }
        self.mount = mount
        owners = OwnerMap(users: try ranges(Self.users), groups: try ranges(Self.groups), isRecursive: false)
        options = mount.options.filter { !$0.hasPrefix(Self.users) && !$0.hasPrefix(Self.groups) }
    }

    /// Makes the mount.
    /// - Throws: `SystemError` of a mount; nothing is left at `target` then.
    func make(at target: String, _ ledger: Ledger) throws {
        // An overlay has its own copies of its layers.
        if mount.type == "overlay" { return try makeOverlay(at: target, ledger) }
        try mount.make(at: target, options)
        // Owners can be changed only before a mount is attached: a copy takes the mount's place.
        let copy: FileDescriptor
        do { copy = try mappedCopy(of: target) } catch {
            Mounts.detachLast(target)
            throw error
        }
        Mounts.detachLast(target)
        try Mounts.attach(copy, at: target)
    }

    private func mappedCopy(of target: String) throws -> FileDescriptor {
        let copy = try Mounts.copy(target, readOnly: options.contains("ro"), recursive: false, devices: true)
        try owners.apply(to: copy, of: mount.source, by: owners.namespace())
        return copy
    }

    private func makeOverlay(at target: String, _ ledger: Ledger) throws {
        let directory = ledger.directory + "/lower"
        var layers = [try ledger.add(.directory(path: directory))]
        defer { for layer in layers.reversed() { ledger.undo(layer) } }
        try Files.makeDirectory(directory)
        let namespace = try owners.namespace()
        var changed = options
        for (index, option) in options.enumerated() where option.hasPrefix(Self.lower) {
            var paths: [String] = []
            for path in option.dropFirst(Self.lower.utf8.count).split(separator: ":") {
                let place = "\(directory)/\(layers.count)"
                try Files.makeDirectory(place)
                layers.append(try ledger.add(.mount(path: place, namespace: Mounts.namespace)))
                let copy = try Mounts.copy(String(path), recursive: false, alone: true, devices: true)
                try owners.apply(to: copy, of: String(path), by: namespace)
                try Mounts.attach(copy, at: place)
                paths.append(place)
            }
            changed[index] = Self.lower + paths.joined(separator: ":")
        }
        try mount.make(at: target, changed)
    }
}
