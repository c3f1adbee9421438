import CLinux
import Glibc
import LinuxKernel

/// The guest's memory, shared by the VMM. Every access is checked against the regions, as the addresses come from the
/// guest.
final class GuestMemory {
    /// One region of SET_MEM_TABLE: guest address, size, the VMM's own address and offset in the file, all in bytes.
    struct Description {
        let guestAddress: UInt64
        let size: UInt64
        let userAddress: UInt64
        let offset: UInt64
    }

    /// A region mapped into this process, as long as the object lives.
    @safe private final class Region {
        private static let limit: UInt64 = 1 << 46
        let place: Description
        private let mapping: UnsafeMutableRawPointer
        private let length: Int

        init(_ place: Description, in file: borrowing FileDescriptor) throws(SystemError) {
            func refusal(_ code: Int32) -> SystemError {
                SystemError("map guest memory at", "0x" + String(place.guestAddress, radix: 16), errno: code)
            }
            let (end, overflow) = place.size.addingReportingOverflow(place.offset)
            guard !overflow, end <= Self.limit, place.size > 0,
                !place.guestAddress.addingReportingOverflow(place.size).overflow,
                !place.userAddress.addingReportingOverflow(place.size).overflow
            else { throw refusal(EINVAL) }
            // An access beyond the file's end would raise SIGBUS, so the VMM must not be able to shrink the file.
            guard clx_is_lasting_memory(file.raw) == 1 else { throw refusal(EPERM) }
            var status = stat()
            // SAFETY: fstat(2) fills the whole structure, which is used only after success.
            guard unsafe fstat(file.raw, &status) == 0, UInt64(status.st_size) >= end else { throw refusal(EFBIG) }
            // SAFETY: the file has all of these bytes, and can't lose them; deinit unmaps them.
            let mapping = unsafe mmap(nil, Int(end), PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0)
            guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else { throw refusal(errno) }
            unsafe (self.place, self.mapping, length) = (place, mapping, Int(end))
        }

        // SAFETY: pointers into the mapping are used only while the table holds the region.
        deinit { unsafe munmap(mapping, length) }

        /// - Parameter distance: bytes from the region's start, below its size.
        func at(_ distance: UInt64) -> UnsafeMutableRawPointer {
            // SAFETY: `distance` is below the size, and the mapping holds the whole region from its offset on.
            unsafe mapping + Int(place.offset + distance)
        }
    }

    private var regions: [Region] = []

    /// Replaces the whole table, or leaves it as it is.
    /// - Parameter files: a memfd for each region, sealed against shrinking as a VMM's own and `FileDescriptor.memory`
    ///   are.
    /// - Throws: when a region is out of range or can't be mapped.
    func replace(_ table: [Description], files: [SharedDescriptor]) throws(SystemError) {
        var replacement: [Region] = []
        for (place, file) in zip(table, files) { replacement.append(try Region(place, in: file.descriptor)) }
        regions = replacement
    }

    /// `length` bytes at a guest-physical address; nil when one region doesn't hold all of them.
    func at(guest address: UInt64, length: UInt64) -> UnsafeMutableRawPointer? {
        // SAFETY: `find` gives a pointer only to bytes that one region holds.
        unsafe find(address, length) { $0.guestAddress }
    }

    /// The same for an address of the VMM's process, as SET_VRING_ADDR gives it. Nil also when the address in this
    /// process is no multiple of `alignment`, which atomic loads and stores need.
    func at(user address: UInt64, length: UInt64, alignment: Int) -> UnsafeMutableRawPointer? {
        // SAFETY: `find` gives a pointer only to bytes that one region holds. Here only its number is looked at.
        let found = unsafe find(address, length) { $0.userAddress }
        return unsafe found.flatMap { unsafe Int(bitPattern: $0) % alignment == 0 ? $0 : nil }
    }

    private func find(_ address: UInt64, _ length: UInt64, _ base: (Description) -> UInt64) -> UnsafeMutableRawPointer?
    {
        for region in regions {
            let (start, size) = (base(region.place), region.place.size)
            guard address >= start, address - start < size, length <= size - (address - start) else { continue }
            // SAFETY: offset + distance + length lie within the mapping, checked here and when the region was made.
            return unsafe region.at(address - start)
        }
        return nil
    }
}
