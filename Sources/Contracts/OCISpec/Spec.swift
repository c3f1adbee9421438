/// A container as its bundle's config.json describes it (OCI runtime specification 1.2, config.md).
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

package struct Mount: Codable, Equatable, Sendable {
    package var destination: String
    package var source: String?
    package var type: String?
    package var options: [String]?

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
}

package struct Hook: Codable, Equatable, Sendable {
    package var path: String
    package var args: [String]?
    package var env: [String]?
    /// Seconds.
    package var timeout: Int?
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

package struct Linux: Codable, Equatable, Sendable {
    package var sysctl: [String: String]?
    package var resources: Resources?
    package var cgroupsPath: String?
    package var namespaces: [Namespace]?
    package var devices: [Device]?
    package var rootfsPropagation: String?
    package var maskedPaths: [String]?
    package var readonlyPaths: [String]?
    package var mountLabel: String?

    package init() {}

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
    }

    /// Sizes in bytes, times in microseconds.
    package struct Resources: Codable, Equatable, Sendable {
        package var memory: Memory?
        package var cpu: CPU?
        package var pids: Pids?

        package init() {}

        package struct Memory: Codable, Equatable, Sendable {
            package var limit: Int64?
            package var reservation: Int64?
            package var swap: Int64?
            package init() {}
        }

        package struct CPU: Codable, Equatable, Sendable {
            package var shares: UInt64?
            package var quota: Int64?
            package var period: UInt64?
            package var cpus: String?
            package var mems: String?
            package init() {}
        }

        package struct Pids: Codable, Equatable, Sendable {
            package var limit: Int64?
            package init() {}
        }
    }
}
