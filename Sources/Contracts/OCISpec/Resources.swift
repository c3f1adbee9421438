extension Linux {
    /// Limits of cgroups (config-linux.md, "Control groups"). Sizes in bytes, times in microseconds.
    package struct Resources: Codable, Equatable, Sendable {
        package var devices: [DeviceRule]?
        package var memory: Memory?
        package var cpu: CPU?
        package var pids: Pids?
        package var blockIO: BlockIO?
        package var hugepageLimits: [HugepageLimit]?
        package var network: Network?
        package var rdma: [String: RDMA]?
        /// Files of cgroup v2 by name.
        package var unified: [String: String]?

        package init() {}

        package struct DeviceRule: Codable, Equatable, Sendable {
            package var allow: Bool
            package var type: String?
            /// nil and negative mean every number.
            package var major: Int64?
            package var minor: Int64?
            package var access: String?

            package init(
                allow: Bool, type: String? = nil, major: Int64? = nil, minor: Int64? = nil, access: String? = nil
            ) {
                self.allow = allow
                self.type = type
                self.major = major
                self.minor = minor
                self.access = access
            }
        }

        package struct Memory: Codable, Equatable, Sendable {
            package var limit: Int64?
            package var reservation: Int64?
            /// Memory and swap together.
            package var swap: Int64?
            package var kernel: Int64?
            package var kernelTCP: Int64?
            package var swappiness: UInt64?
            package var disableOOMKiller: Bool?
            package var useHierarchy: Bool?
            package var checkBeforeUpdate: Bool?
            package init() {}
        }

        package struct CPU: Codable, Equatable, Sendable {
            package var shares: UInt64?
            package var quota: Int64?
            package var burst: UInt64?
            package var period: UInt64?
            package var realtimeRuntime: Int64?
            package var realtimePeriod: UInt64?
            package var cpus: String?
            package var mems: String?
            package var idle: Int64?
            package init() {}
        }

        package struct Pids: Codable, Equatable, Sendable {
            package var limit: Int64?
            package init() {}
        }

        package struct BlockIO: Codable, Equatable, Sendable {
            package var weight: UInt16?
            package var leafWeight: UInt16?
            package var weightDevice: [WeightDevice]?
            package var throttleReadBpsDevice: [ThrottleDevice]?
            package var throttleWriteBpsDevice: [ThrottleDevice]?
            package var throttleReadIOPSDevice: [ThrottleDevice]?
            package var throttleWriteIOPSDevice: [ThrottleDevice]?
            package init() {}

            package struct WeightDevice: Codable, Equatable, Sendable {
                package var major: Int64
                package var minor: Int64
                package var weight: UInt16?
                package var leafWeight: UInt16?

                package init(major: Int64, minor: Int64, weight: UInt16? = nil, leafWeight: UInt16? = nil) {
                    (self.major, self.minor, self.weight, self.leafWeight) = (major, minor, weight, leafWeight)
                }
            }

            package struct ThrottleDevice: Codable, Equatable, Sendable {
                package var major: Int64
                package var minor: Int64
                package var rate: UInt64

                package init(major: Int64, minor: Int64, rate: UInt64) {
                    (self.major, self.minor, self.rate) = (major, minor, rate)
                }
            }
        }

        package struct HugepageLimit: Codable, Equatable, Sendable {
            /// `2MB` or `1GB`, as in the names of the kernel's files.
            package var pageSize: String
            package var limit: UInt64

            package init(pageSize: String, limit: UInt64) { (self.pageSize, self.limit) = (pageSize, limit) }
        }

        package struct Network: Codable, Equatable, Sendable {
            package var classID: UInt32?
            package var priorities: [Priority]?
            package init() {}

            package struct Priority: Codable, Equatable, Sendable {
                package var name: String
                package var priority: UInt32

                package init(name: String, priority: UInt32) { (self.name, self.priority) = (name, priority) }
            }
        }

        package struct RDMA: Codable, Equatable, Sendable {
            package var hcaHandles: UInt32?
            package var hcaObjects: UInt32?
        }
    }
}
