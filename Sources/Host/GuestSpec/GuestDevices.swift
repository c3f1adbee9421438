import LinuxKernel
import OCISpec

extension GuestSpec {
    static func isPrivileged(_ spec: Spec) -> Bool {
        (spec.linux?.resources?.devices ?? []).contains {
            $0.allow && ["a", ""].contains($0.type ?? "a") && $0.major ?? -1 < 0 && $0.minor ?? -1 < 0
        }
    }

    /// Devices of the host don't exist in the guest, except disks, which the machine gets. Privileged containers list
    /// every device of the host: those are dropped. Devices that the user requested remain: they have a path that the
    /// host lacks, or are listed twice.
    static func devices(_ spec: Spec, _ source: String, _ kind: (String) -> Files.Kind?) throws(SpecError) -> (
        kept: [OCISpec.Linux.Device]?, disks: [Disk], dropped: Int
    ) {
        let isPrivileged = isPrivileged(spec)
        guard isPrivileged || spec.linux?.devices != nil else { return (nil, [], 0) }
        var kept: [OCISpec.Linux.Device] = []
        var (disks, dropped): ([Disk], Int) = ([], 0)
        var seen: Set<String> = []
        for (index, device) in (spec.linux?.devices ?? []).enumerated() {
            if !device.isUniversal, isPrivileged, seen.insert(device.path).inserted, kind(device.path) != nil {
                dropped += 1
                continue
            }
            kept.append(device)
            guard !device.isUniversal else { continue }
            if device.type == "b" {
                disks.append(Disk(device, rules: spec.linux?.resources?.devices ?? []))
                continue
            }
            throw SpecError(source, "linux.devices[\(index)]", device.refusal)
        }
        // In a user namespace no node can be made, and the guest has none to bind before the driver is loaded.
        if isPrivileged, !(spec.linux?.namespaces ?? []).contains(where: { $0.type == "user" }) {
            kept += expectedNodes.filter { node in !kept.contains { $0.path == node.path } }
        }
        return (kept, disks, dropped)
    }

    /// Refuses limits of disks that the guest does not get.
    static func refuseDevices(of limits: OCISpec.Linux.Resources.BlockIO?, but disks: [Disk], _ source: String)
        throws(SpecError)
    {
        let weights = (limits?.weightDevice ?? []).map { ($0.major, $0.minor) }
        func numbers(_ list: [OCISpec.Linux.Resources.BlockIO.ThrottleDevice]?) -> [(Int64, Int64)] {
            (list ?? []).map { ($0.major, $0.minor) }
        }
        let lists = [
            ("weightDevice", weights), ("throttleReadBpsDevice", numbers(limits?.throttleReadBpsDevice)),
            ("throttleWriteBpsDevice", numbers(limits?.throttleWriteBpsDevice)),
            ("throttleReadIOPSDevice", numbers(limits?.throttleReadIOPSDevice)),
            ("throttleWriteIOPSDevice", numbers(limits?.throttleWriteIOPSDevice)),
        ]
        for (name, list) in lists {
            for (major, minor) in list
            where !disks.contains(where: { $0.source == .number(major: major, minor: minor) }) {
                throw SpecError(
                    source, "linux.resources.blockIO." + name,
                    "\(major):\(minor) is a disk of the host that the container doesn't have: give it with linux.devices"
                )
            }
        }
    }

    /// Nodes of drivers that the guest's kernel loads when one is opened (Documentation/admin-guide/devices.txt). A
    /// host has them, so programs with all rights expect them: for tunnels, file systems of their own, and disk images.
    private static let expectedNodes =
        [("/dev/net/tun", 200, 0o666), ("/dev/fuse", 229, 0o666), ("/dev/loop-control", 237, 0o660)].map {
            OCISpec.Linux.Device(type: "c", path: $0, major: 10, minor: $1, fileMode: $2)
        }
        + (Int64(0)..<8).map { (minor: Int64) in
            OCISpec.Linux.Device(type: "b", path: "/dev/loop\(minor)", major: 7, minor: minor, fileMode: 0o660)
        }
}

extension OCISpec.Linux.Device {
    /// The number means the same device in every kernel: memory devices, terminals, and the fixed numbers of misc.
    package var isUniversal: Bool {
        switch (type, major ?? -1, minor ?? -1) {
        case ("p", _, _): true
        case ("b", _, _): false
        // Misc numbers from 200 to 249 have fixed meanings: tun, fuse and others
        // (Documentation/admin-guide/devices.txt).
        case (_, 1, _), (_, 5, _), (_, 10, 200...249), (_, 108, 0): true
        default: false
        }
    }

    var refusal: String { "\(path) (\(type) \(major ?? 0):\(minor ?? 0)) belongs to the host and is not in the guest" }
}
