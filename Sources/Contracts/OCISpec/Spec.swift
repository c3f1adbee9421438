/// The content of a bundle's config.json (OCI runtime specification 1.2, config.md).
package struct Spec: Codable, Equatable, Sendable {
    package var ociVersion: String
    package var process: Process?
    package var root: Root?
    package var hostname: String?
    package var domainname: String?
    package var mounts: [Mount]?
    package var hooks: Hooks?
    package var annotations: [String: String]?
    package var linux: Linux?

    package init(ociVersion: String = Spec.version) { self.ociVersion = ociVersion }

    /// The version of the specification that this code follows.
    package static let version = "1.2.0"
}

package struct Root: Codable, Equatable, Sendable {
    package var path: String
    package var readonly: Bool?

    package init(path: String, readonly: Bool? = nil) {
        self.path = path
        self.readonly = readonly
    }
}

/// A range of ids in a user namespace, and the ids outside that it maps to.
package struct IDMapping: Codable, Equatable, Sendable {
    package var containerID: UInt32
    package var hostID: UInt32
    package var size: UInt32

    package init(containerID: UInt32, hostID: UInt32, size: UInt32) {
        self.containerID = containerID
        self.hostID = hostID
        self.size = size
    }
}

package struct Mount: Codable, Equatable, Sendable {
    package var destination: String
    package var source: String?
    package var type: String?
    package var options: [String]?
    package var uidMappings: [IDMapping]?
    package var gidMappings: [IDMapping]?

    package init(destination: String, type: String? = nil, source: String? = nil, options: [String]? = nil) {
        self.destination = destination
        self.type = type
        self.source = source
        self.options = options
    }
}

package struct Hooks: Codable, Equatable, Sendable {
    package var prestart: [Hook]?
    package var createRuntime: [Hook]?
    package var createContainer: [Hook]?
    package var startContainer: [Hook]?
    package var poststart: [Hook]?
    package var poststop: [Hook]?

    package init(
        prestart: [Hook]? = nil, createRuntime: [Hook]? = nil, createContainer: [Hook]? = nil,
        startContainer: [Hook]? = nil, poststart: [Hook]? = nil, poststop: [Hook]? = nil
    ) {
        self.prestart = prestart
        self.createRuntime = createRuntime
        self.createContainer = createContainer
        self.startContainer = startContainer
        self.poststart = poststart
        self.poststop = poststop
    }
}

package struct Hook: Codable, Equatable, Sendable {
    package var path: String
    package var args: [String]?
    package var env: [String]?
    /// Seconds.
    package var timeout: Int?

    package init(path: String, args: [String]? = nil, env: [String]? = nil, timeout: Int? = nil) {
        self.path = path
        self.args = args
        self.env = env
        self.timeout = timeout
    }
}

/// A program to run in a container: config.json's `process`, and process.json of `exec`.
package struct Process: Codable, Equatable, Sendable {
    package var terminal: Bool?
    package var consoleSize: Box?
    package var user: User
    package var args: [String]?
    package var env: [String]?
    package var cwd: String
    package var capabilities: Capabilities?
    package var rlimits: [Rlimit]?
    package var noNewPrivileges: Bool?
    package var apparmorProfile: String?
    package var oomScoreAdj: Int?
    package var selinuxLabel: String?
    package var scheduler: Scheduler?
    package var ioPriority: IOPriority?
    package var execCPUAffinity: CPUAffinity?

    package init(args: [String], cwd: String = "/") {
        self.args = args
        self.cwd = cwd
        user = User()
    }

    package struct Box: Codable, Equatable, Sendable {
        package var height: UInt
        package var width: UInt
        package init(height: UInt, width: UInt) {
            self.height = height
            self.width = width
        }
    }

    package struct User: Codable, Equatable, Sendable {
        package var uid: UInt32 = 0
        package var gid: UInt32 = 0
        package var umask: UInt32?
        package var additionalGids: [UInt32]?
        package init() {}

        /// Missing ids are 0, as under runc and crun.
        /// - Throws: `DecodingError` for anything but an object, and for a field of another type or out of range.
        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            uid = try values.decodeIfPresent(UInt32.self, forKey: .uid) ?? 0
            gid = try values.decodeIfPresent(UInt32.self, forKey: .gid) ?? 0
            umask = try values.decodeIfPresent(UInt32.self, forKey: .umask)
            additionalGids = try values.decodeIfPresent([UInt32].self, forKey: .additionalGids)
        }
    }

    /// Names as in capabilities(7), with the CAP_ prefix.
    package struct Capabilities: Codable, Equatable, Sendable {
        package var bounding: [String]?
        package var effective: [String]?
        package var inheritable: [String]?
        package var permitted: [String]?
        package var ambient: [String]?
        package init() {}
    }

    /// Arguments of sched_setattr(2); times in nanoseconds.
    package struct Scheduler: Codable, Equatable, Sendable {
        package var policy: String
        package var nice: Int32?
        package var priority: Int32?
        package var flags: [String]?
        package var runtime: UInt64?
        package var deadline: UInt64?
        package var period: UInt64?
    }

    package struct IOPriority: Codable, Equatable, Sendable {
        package var `class`: String
        package var priority: Int?
    }

    /// Lists of processors, `0-3,7`.
    package struct CPUAffinity: Codable, Equatable, Sendable {
        package var initial: String?
        package var final: String?
    }

    package struct Rlimit: Codable, Equatable, Sendable {
        package var type: String
        package var hard: UInt64
        package var soft: UInt64
        package init(type: String, hard: UInt64, soft: UInt64) {
            self.type = type
            self.hard = hard
            self.soft = soft
        }
    }
}

extension KeyedDecodingContainer {
    /// This module's decoders call it for `Process.user`: a process without a user is root's.
    func decode(_ type: Process.User.Type, forKey key: Key) throws -> Process.User {
        try decodeIfPresent(type, forKey: key) ?? Process.User()
    }
}

package struct Linux: Codable, Equatable, Sendable {
    package var uidMappings: [IDMapping]?
    package var gidMappings: [IDMapping]?
    package var timeOffsets: [String: TimeOffset]?
    package var sysctl: [String: String]?
    package var resources: Resources?
    package var cgroupsPath: String?
    package var namespaces: [Namespace]?
    package var devices: [Device]?
    package var rootfsPropagation: String?
    package var maskedPaths: [String]?
    package var readonlyPaths: [String]?
    package var mountLabel: String?
    package var seccomp: Seccomp?
    package var personality: Personality?
    package var intelRdt: IntelRdt?
    package var memoryPolicy: MemoryPolicy?

    package init() {}

    /// Fields that no guest can apply; they are read so that they can be refused.
    package struct IntelRdt: Codable, Equatable, Sendable { package init() {} }
    package struct MemoryPolicy: Codable, Equatable, Sendable {}

    package struct Personality: Codable, Equatable, Sendable {
        package var domain: String
        package var flags: [String]?
    }

    package struct TimeOffset: Codable, Equatable, Sendable {
        package var secs: Int64?
        package var nanosecs: UInt32?
    }

    package struct Namespace: Codable, Equatable, Sendable {
        package var type: String
        package var path: String?
        package init(type: String, path: String? = nil) {
            self.type = type
            self.path = path
        }
    }

    package struct Device: Codable, Equatable, Sendable {
        package var type: String
        package var path: String
        package var major: Int64?
        package var minor: Int64?
        package var fileMode: UInt32?
        package var uid: UInt32?
        package var gid: UInt32?

        package init(
            type: String, path: String, major: Int64? = nil, minor: Int64? = nil, fileMode: UInt32? = nil,
            uid: UInt32? = nil, gid: UInt32? = nil
        ) {
            (self.type, self.path, self.major, self.minor) = (type, path, major, minor)
            (self.fileMode, self.uid, self.gid) = (fileMode, uid, gid)
        }
    }
}
