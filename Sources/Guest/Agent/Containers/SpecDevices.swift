import GuestStorage
import OCISpec

extension OCISpec.Spec {
    /// Replaces a disk of the host by the guest's: the source of a bind mount, or the device numbers everywhere.
    /// - Parameter path: of the device in the container.
    mutating func replace(device path: String, by disk: BlockDevice) {
        if let index = mounts?.firstIndex(where: { $0.destination == path }) {
            mounts?[index].source = disk.path
            // A mounted disk has no rule in the specification.
            linux?.resources?.devices?.append(
                .init(allow: true, type: "b", major: disk.major, minor: disk.minor, access: "rwm"))
            return
        }
        guard let index = linux?.devices?.firstIndex(where: { $0.path == path }), let old = linux?.devices?[index]
        else { return }
        linux?.devices?[index].major = disk.major
        linux?.devices?[index].minor = disk.minor
        let numbers = (old.major ?? -1, old.minor ?? -1)
        linux?.resources?.replace(numbers, by: disk)
    }
}

extension OCISpec.Linux.Resources {
    fileprivate mutating func replace(_ old: (Int64, Int64), by disk: BlockDevice) {
        for index in (devices ?? []).indices {
            guard let rule = devices?[index], rule.type == "b", (rule.major ?? -1, rule.minor ?? -1) == old else {
                continue
            }
            devices?[index].major = disk.major
            devices?[index].minor = disk.minor
        }
        func move<Limit>(
            _ limits: inout [Limit]?, _ major: WritableKeyPath<Limit, Int64>, _ minor: WritableKeyPath<Limit, Int64>
        ) {
            for index in (limits ?? []).indices
            where (limits?[index][keyPath: major], limits?[index][keyPath: minor]) == (old.0, old.1) {
                limits?[index][keyPath: major] = disk.major
                limits?[index][keyPath: minor] = disk.minor
            }
        }
        guard var limits = blockIO else { return }
        move(&limits.weightDevice, \.major, \.minor)
        move(&limits.throttleReadBpsDevice, \.major, \.minor)
        move(&limits.throttleWriteBpsDevice, \.major, \.minor)
        move(&limits.throttleReadIOPSDevice, \.major, \.minor)
        move(&limits.throttleWriteIOPSDevice, \.major, \.minor)
        blockIO = limits
    }
}
