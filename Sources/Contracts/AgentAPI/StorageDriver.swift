/// Drivers that a storage or a device of a request names; the names are those of Kata's agent.
package enum StorageDriver {
    package static let virtioFS = "virtio-fs"
    /// The type of that file system to mount(2).
    package static let virtioFSType = "virtiofs"
    package static let nineP = "9p"
    /// Memory of the guest that several containers share: a tmpfs that ends with its last user. Where the storage's
    /// field `shared` is true, it ends with the sandbox.
    package static let ephemeral = "ephemeral"
    package static let local = "local"
    /// A bind mount; with `VolumeDirectory` options, of a directory in a file system that containers can write to.
    package static let bind = "bind"
    /// A virtio-blk disk; its source is a `PCIPath`.
    package static let block = "blk"
    /// A disk on the virtio-scsi controller; its source is a `SCSIAddress`.
    package static let scsi = "scsi"
}

/// Options of storages whose meaning is no mount option.
package enum StorageOption {
    /// An option of `ephemeral`: the group of the top directory, which passes to what is made in it.
    package static let group = "fsgid="
}

/// A directory in a file system of the guest, in the driver options of a storage with driver `bind`. The storage's
/// source is the file system's mount point.
package struct VolumeDirectory: Equatable, Sendable {
    /// Its path below the mount point.
    package var place: String
    /// Attributes for it and its parents, where they are missing.
    package var mode: UInt32
    package var owner: UInt32
    package var group: UInt32

    package init(place: String, mode: UInt32, owner: UInt32, group: UInt32) {
        (self.place, self.mode, self.owner, self.group) = (place, mode, owner, group)
    }

    package var options: [String] {
        ["place=" + place, "mode=" + String(mode, radix: 8), "uid=\(owner)", "gid=\(group)"]
    }

    /// Reads driver options; nil when they name no directory.
    package init?(_ options: [String]) {
        func value(_ name: String) -> Substring? {
            options.last { $0.hasPrefix(name) }.map { $0.dropFirst(name.utf8.count) }
        }
        func number(_ name: String, radix: Int = 10) -> UInt32 { value(name).flatMap { UInt32($0, radix: radix) } ?? 0 }
        guard let place = value("place=") else { return nil }
        self.init(
            place: String(place), mode: number("mode=", radix: 8), owner: number("uid="), group: number("gid="))
    }
}
