import Glibc
import Linux

/// The guest's memory as the VMM shared it. Every access is checked against the regions: the addresses come from the guest.
final class GuestMemory {
    private struct Region {
        let guestAddress: UInt64
        let userAddress: UInt64
        let size: UInt64
        let mapping: UnsafeMutableRawPointer
        let mapped: Int
        let offset: UInt64
    }

    private var regions: [Region] = []

    deinit { unmap() }

    private func unmap() {
        for region in regions { munmap(region.mapping, region.mapped) }
        regions = []
    }

    /// One region of SET_MEM_TABLE: guest address, size, the VMM's own address and offset in the file, all in bytes.
    struct Description {
        let guestAddress: UInt64
        let size: UInt64
        let userAddress: UInt64
        let offset: UInt64
    }

    /// Replaces the table. `descriptors` stay the caller's.
    func replace(_ table: [Description], descriptors: [Int32]) throws(SystemError) {
        unmap()
        for (description, descriptor) in zip(table, descriptors) {
            let (end, overflow) = description.size.addingReportingOverflow(description.offset)
            let limit: UInt64 = 1 << 46
            guard !overflow, end <= limit, description.size > 0,
                !description.guestAddress.addingReportingOverflow(description.size).overflow,
                !description.userAddress.addingReportingOverflow(description.size).overflow
            else { throw SystemError("map guest memory at", "\(description.guestAddress)", errno: EINVAL) }
            // A mapping beyond the file's end would fault on touch.
            var status = stat()
            guard fstat(descriptor, &status) == 0, UInt64(status.st_size) >= end else {
                throw SystemError("map guest memory at", "\(description.guestAddress)", errno: EFBIG)
            }
            let mapping = mmap(nil, Int(end), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
            guard let mapping, mapping != MAP_FAILED else {
                throw SystemError("map guest memory at", "\(description.guestAddress)", errno: errno)
            }
            regions.append(
                Region(
                    guestAddress: description.guestAddress, userAddress: description.userAddress,
                    size: description.size,
                    mapping: mapping, mapped: Int(end), offset: description.offset))
        }
    }

    /// `length` bytes at a guest-physical address, or nil when they are not all in one region.
    func at(guest address: UInt64, length: UInt64) -> UnsafeMutableRawPointer? {
        find(address, length) { $0.guestAddress }
    }

    /// The same for an address of the VMM's process, as SET_VRING_ADDR gives them.
    func at(user address: UInt64, length: UInt64) -> UnsafeMutableRawPointer? {
        find(address, length) { $0.userAddress }
    }

    private func find(_ address: UInt64, _ length: UInt64, _ base: (Region) -> UInt64) -> UnsafeMutableRawPointer? {
        for region in regions {
            let start = base(region)
            guard address >= start, address - start < region.size, length <= region.size - (address - start) else {
                continue
            }
            // SAFETY: offset + distance + length lie within the mapping, checked above and in `replace`.
            return region.mapping + Int(region.offset + (address - start))
        }
        return nil
    }
}
