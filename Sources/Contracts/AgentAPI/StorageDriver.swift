/// Drivers that a storage or a device of a request names; the names are those of Kata's agent.
package enum StorageDriver {
    package static let virtioFS = "virtio-fs"
    package static let nineP = "9p"
    /// Memory of the guest that several containers share.
    package static let ephemeral = "ephemeral"
    package static let local = "local"
    package static let bind = "bind"
    /// A virtio-blk disk; its source is a `PCIPath`.
    package static let block = "blk"
    /// A disk on the virtio-scsi controller; its source is a `SCSIAddress`.
    package static let scsi = "scsi"
}
