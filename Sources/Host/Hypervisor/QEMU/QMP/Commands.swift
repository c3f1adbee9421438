/// The commands of QEMU's monitor that we use (QEMU QMP Reference Manual; qapi/*.json). Each encodes as the `arguments`
/// object.
enum QMP {
    /// A command without a useful result.
    protocol Command: Encodable, Sendable {
        static var name: String { get }
    }

    /// A command with a result.
    protocol Query: Command {
        associatedtype Answer: Decodable & Sendable
    }

    // MARK: The monitor and descriptors (qapi/control.json, qapi/misc.json)

    struct Capabilities: Command {
        static let name = "qmp_capabilities"
    }

    /// Names the descriptor that is sent with the command.
    struct GetFD: Command {
        static let name = "getfd"
        var fdname: String
    }

    /// Adds the descriptor that is sent with the command to a set, which `/dev/fdset/<number>` opens.
    struct AddFD: Command {
        static let name = "add-fd"
        var set: Int
        enum CodingKeys: String, CodingKey { case set = "fdset-id" }
    }

    struct RemoveFD: Command {
        static let name = "remove-fd"
        var set: Int
        enum CodingKeys: String, CodingKey { case set = "fdset-id" }
    }

    /// A command of the monitor for people; its answer is text.
    struct HumanMonitorCommand: Query {
        typealias Answer = String
        static let name = "human-monitor-command"
        var commandLine: String
        enum CodingKeys: String, CodingKey { case commandLine = "command-line" }
    }

    /// Lets the guest run.
    struct Continue: Command {
        static let name = "cont"
    }

    // MARK: Devices (qapi/qdev.json; the properties are the driver's own)

    struct DeviceAdd: Command {
        static let name = "device_add"
        var driver: String
        var id: String
        var bus: String?
        // Disks.
        var drive: String?
        var scsiID: Int?
        var lun: Int?
        var logicalBlockSize: Int?
        var physicalBlockSize: Int?
        /// Whether others may write the disk.
        var shareRW: Bool?
        // Network cards.
        var netdev: String?
        var mac: String?
        var romfile: String?
        var mq: Bool?
        var vectors: Int?
        // vhost-user devices.
        var chardev: String?
        var tag: String?
        var queueSize: Int?
        // Memory.
        var memdev: String?
        var requestedSize: Int?
        // Processors.
        var socketID: Int?
        var dieID: Int?
        var coreID: Int?
        var threadID: Int?

        init(driver: String, id: String, bus: String? = nil) { (self.driver, self.id, self.bus) = (driver, id, bus) }

        enum CodingKeys: String, CodingKey {
            case driver, id, bus, drive, lun, netdev, mac, romfile, mq, vectors, chardev, tag, memdev
            case scsiID = "scsi-id"
            case logicalBlockSize = "logical_block_size"
            case physicalBlockSize = "physical_block_size"
            case shareRW = "share-rw"
            case queueSize = "queue-size"
            case requestedSize = "requested-size"
            case socketID = "socket-id"
            case dieID = "die-id"
            case coreID = "core-id"
            case threadID = "thread-id"
        }
    }

    struct DeviceDelete: Command {
        static let name = "device_del"
        var id: String
    }

    // MARK: Objects and their properties (qapi/qom.json)

    struct ObjectAdd: Command {
        static let name = "object-add"
        var type: String
        var id: String
        /// Bytes.
        var size: Int
        var share: Bool
        var reserve: Bool
        enum CodingKeys: String, CodingKey {
            case id, size, share, reserve
            case type = "qom-type"
        }

        /// Memory that the vhost-user devices can map.
        /// - Parameter reserve: whether the host reserves all of it at once.
        static func memory(_ id: String, mebibytes: Int, reserve: Bool = true) -> ObjectAdd {
            ObjectAdd(type: "memory-backend-memfd", id: id, size: mebibytes << 20, share: true, reserve: reserve)
        }
    }

    struct ObjectDelete: Command {
        static let name = "object-del"
        var id: String
    }

    struct SetProperty: Command {
        static let name = "qom-set"
        var path: String
        var property: String
        var value: Int
    }

    /// The virtual processors and their threads (qapi/machine.json).
    struct Processors: Query {
        static let name = "query-cpus-fast"
        typealias Answer = [Processor]

        struct Processor: Decodable, Sendable {
            var thread: Int32
            enum CodingKeys: String, CodingKey { case thread = "thread-id" }
        }
    }

    struct GetProperty: Query {
        typealias Answer = Int
        static let name = "qom-get"
        var path: String
        var property: String
    }

    // MARK: Block devices (qapi/block-core.json)

    struct BlockDeviceAdd: Command {
        static let name = "blockdev-add"
        var name: String
        var driver = "raw"
        var readOnly: Bool
        var cache: Cache?
        var file: File
        enum CodingKeys: String, CodingKey {
            case driver, cache, file
            case name = "node-name"
            case readOnly = "read-only"
        }

        struct File: Encodable, Sendable {
            /// `host_device` or `file`.
            var driver: String
            var filename: String
            var readOnly: Bool
            var aio: String
            var cache: Cache?
            /// `off`: other processes may have the file, too. nil: as QEMU decides.
            var locking: String?
            enum CodingKeys: String, CodingKey {
                case driver, filename, aio, cache, locking
                case readOnly = "read-only"
            }
        }

        struct Cache: Encodable, Sendable {
            var direct: Bool
            var noFlush: Bool
            enum CodingKeys: String, CodingKey {
                case direct
                case noFlush = "no-flush"
            }
        }
    }

    struct BlockDeviceDelete: Command {
        static let name = "blockdev-del"
        var name: String
        enum CodingKeys: String, CodingKey { case name = "node-name" }
    }

    // MARK: Network and character devices (qapi/net.json, qapi/char.json)

    struct NetworkAdd: Command {
        static let name = "netdev_add"
        var type = "tap"
        var id: String
        var vhost: Bool
        // One name, or several with colons between: QEMU takes them by different keys.
        var fd: String?
        var fds: String?
        var vhostfd: String?
        var vhostfds: String?
    }

    struct NetworkDelete: Command {
        static let name = "netdev_del"
        var id: String
    }

    /// A character device over the socket that `getfd` has named.
    struct CharacterDeviceAdd: Command {
        static let name = "chardev-add"
        var id: String
        var backend: Backend

        init(id: String, descriptor: String) {
            self.id = id
            backend = Backend(data: .init(addr: .init(data: .init(str: descriptor))))
        }

        struct Backend: Encodable, Sendable {
            var type = "socket"
            var data: Socket
            struct Socket: Encodable, Sendable {
                var addr: Address
                var server = false
            }
            struct Address: Encodable, Sendable {
                var type = "fd"
                var data: Name
            }
            struct Name: Encodable, Sendable { var str: String }
        }
    }

    // MARK: Saving and loading (qapi/migration.json)

    struct MigrateSetCapabilities: Command {
        static let name = "migrate-set-capabilities"
        var capabilities: [Capability]
        struct Capability: Encodable, Sendable {
            var capability: String
            var state = true
        }
        init(_ names: String...) { capabilities = names.map { Capability(capability: $0) } }
    }

    /// Writes the machine's state.
    struct Migrate: Command {
        static let name = "migrate"
        var uri: String
    }

    /// Reads the machine's state.
    struct MigrateIncoming: Command {
        static let name = "migrate-incoming"
        var uri: String
    }
}
