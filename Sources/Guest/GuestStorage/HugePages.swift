import Glibc
import LinuxKernel
import Synchronization

/// The guest kernel's pools of huge pages (Documentation/admin-guide/mm/hugetlbpage.rst). A pool has as many pages as
/// its containers' limits ask for together.
package final class HugePages: Sendable {
    /// Pages by the pool's directory, for each container's cgroup.
    private let taken = Mutex<[String: [String: UInt64]]>([:])
    private let root: String

    /// - Parameter root: the directory of the pools; tests have another.
    package init(root: String = "/sys/kernel/mm/hugepages") { self.root = root }

    /// Adds the pages of a container's limits. Blocks while the kernel looks for free memory.
    /// - Parameters:
    ///   - owner: the container's cgroup.
    ///   - limits: bytes by page size, as the files of its cgroup have them: `2MB`.
    /// - Throws: ENOMEM when the guest has not that much free memory.
    package func take(for owner: String, _ limits: [String: UInt64]) throws(SystemError) {
        try taken.withLock { taken throws(SystemError) in
            for (size, bytes) in limits.sorted(by: { $0.key < $1.key }) where bytes > 0 {
                guard let pageKiB = Self.kibibytes(size), Files.exists(pool(pageKiB)) else { continue }
                let pages = (bytes / 1024 + pageKiB - 1) / pageKiB
                taken[owner, default: [:]][pool(pageKiB), default: 0] += pages
                do throws(SystemError) { try fill(pool(pageKiB), taken) } catch {
                    try? give(back: owner, &taken)
                    throw error
                }
            }
        }
    }

    /// Gives a container's pages back.
    package func give(back owner: String) { taken.withLock { try? give(back: owner, &$0) } }

    private func give(back owner: String, _ taken: inout [String: [String: UInt64]]) throws(SystemError) {
        for pool in (taken.removeValue(forKey: owner) ?? [:]).keys { try fill(pool, taken) }
    }

    private func fill(_ pool: String, _ taken: [String: [String: UInt64]]) throws(SystemError) {
        let wanted = taken.values.reduce(0) { $0 + ($1[pool] ?? 0) }
        try Files.write(pool + "/nr_hugepages", "\(wanted)")
        let got = UInt64(try Files.readText(pool + "/nr_hugepages").filter(\.isNumber)) ?? 0
        if got < wanted {
            throw SystemError("find memory for \(wanted) huge pages (it is enough for \(got)) in", pool, errno: ENOMEM)
        }
    }

    private func pool(_ kibibytes: UInt64) -> String { "\(root)/hugepages-\(kibibytes)kB" }

    /// The size of a page that a file's name has: `64KB`, `2MB`, `1GB` (mm/hugetlb_cgroup.c).
    static func kibibytes(_ size: String) -> UInt64? {
        let units: [(String, UInt64)] = [("KB", 1), ("MB", 1024), ("GB", 1 << 20)]
        for (unit, factor) in units where size.hasSuffix(unit) {
            guard let number = UInt64(size.dropLast(unit.count)), (1...1024).contains(number) else { return nil }
            return number * factor
        }
        return nil
    }
}
