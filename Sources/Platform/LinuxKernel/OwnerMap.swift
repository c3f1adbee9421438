import CLinux
import Glibc

/// Changes of the owners that a mount shows: its files' ids, and what they become (mount_setattr(2), MOUNT_ATTR_IDMAP).
/// An id without a range becomes the kernel's overflow id.
package struct OwnerMap: Hashable, Sendable {
    /// Ids of the file system from `first` on, and the first one that the mount shows for them.
    package struct Range: Hashable, Sendable {
        package let first: UInt32
        package let shown: UInt32
        package let count: UInt32

        package init(first: UInt32, shown: UInt32, count: UInt32) {
            (self.first, self.shown, self.count) = (first, shown, count)
        }
    }

    package let users: [Range]
    package let groups: [Range]
    /// Whether mounts below are changed too.
    package let isRecursive: Bool

    package init(users: [Range], groups: [Range], isRecursive: Bool) {
        (self.users, self.groups, self.isRecursive) = (users, groups, isRecursive)
    }

    /// The owner that the mount shows for a file of these.
    package func owner(user: UInt32, group: UInt32) -> (user: UInt32, group: UInt32) {
        (Self.shown(user, users), Self.shown(group, groups))
    }

    /// The kernel's overflow user and group (/proc/sys/kernel/overflowuid).
    private static let overflow: UInt32 = 65534

    private static func shown(_ id: UInt32, _ ranges: [Range]) -> UInt32 {
        guard let range = ranges.first(where: { id >= $0.first && id - $0.first < $0.count }) else { return overflow }
        return range.shown + (id - range.first)
    }

    /// Lines of uid_map or gid_map (user_namespaces(7)).
    private static func text(_ ranges: [Range]) -> String {
        ranges.map { "\($0.first) \($0.shown) \($0.count)\n" }.joined()
    }

    /// Makes a user namespace with these ranges, for `apply`.
    /// - Throws: `SystemError`: EINVAL for ranges that overlap.
    package func namespace() throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            // SAFETY: the call only reads the texts.
            owning: try unsafe checkNegativeErrno(
                "map owners by", "user namespace", clx_make_user_namespace(Self.text(users), Self.text(groups))))
    }

    /// Lets copied mounts show the changed owners. They must not be attached yet.
    /// - Parameters:
    ///   - source: for errors.
    ///   - namespace: that of `namespace()`.
    /// - Throws: `SystemError`: EINVAL for a file system that can't do this.
    package func apply(
        to copy: borrowing FileDescriptor, of source: String, by namespace: borrowing FileDescriptor
    ) throws(SystemError) {
        try checkNegativeErrno(
            "map owners of", source, clx_map_owners(copy.raw, namespace.raw, isRecursive ? 1 : 0))
    }
}
