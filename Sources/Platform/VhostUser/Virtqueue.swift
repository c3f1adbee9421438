import CLinux
import Glibc

/// The device's side of a split virtqueue (virtio 1.2, 2.7). The guest may write anything into the rings at any time.
@safe struct Virtqueue {
    /// The buffers of one descriptor chain, as pointers into guest memory.
    @safe struct Chain {
        var head: UInt16 = 0
        // SAFETY: empty lists have no pointers.
        var readable: [iovec] = unsafe []
        var writable: [iovec] = unsafe []

        fileprivate mutating func reset(_ head: UInt16) {
            self.head = head
            // SAFETY: the pointers are dropped, not followed.
            unsafe readable.removeAll(keepingCapacity: true)
            unsafe writable.removeAll(keepingCapacity: true)
        }
    }

    /// The rule that the guest has broken; the queue stops.
    enum Violation: Error { case runawayIndex, descriptorIndex, loop, address, order }

    static let maxSize: UInt32 = 1024

    /// Sizes in bytes: struct virtq_desc; flags, index and event of a ring beside its entries (2.7.6, 2.7.8).
    private enum Layout {
        static let descriptor = 16
        static let ringHead: UInt64 = 6
    }

    /// VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, and VIRTQ_AVAIL_F_NO_INTERRUPT of the available ring.
    private enum Flags {
        static let next: UInt16 = 1
        static let write: UInt16 = 2
        static let noInterrupt: UInt16 = 1
    }

    private(set) var size: UInt32 = 0
    var enabled = false
    var lastAvailable: UInt16 = 0
    private var lastUsed: UInt16 = 0
    private var addresses: (descriptors: UInt64, available: UInt64, used: UInt64)?
    private var descriptors: UnsafeMutableRawPointer?
    private var available: UnsafeMutableRawPointer?
    private var used: UnsafeMutableRawPointer?

    // SAFETY: the pointer is compared, not followed.
    var isReady: Bool { unsafe enabled && size > 0 && used != nil }

    /// Sets the rings' addresses in the VMM's process.
    mutating func place(descriptors: UInt64, available: UInt64, used: UInt64, in memory: GuestMemory) {
        addresses = (descriptors, available, used)
        resolve(in: memory)
    }

    /// Sets the number of entries, and checks the rings again.
    mutating func resize(_ size: UInt32, in memory: GuestMemory) {
        self.size = size
        resolve(in: memory)
    }

    /// Maps the rings; needed after each change of the memory table.
    mutating func resolve(in memory: GuestMemory) {
        // SAFETY: `at` gives a pointer only to a whole, aligned ring; all three are nil unless each has one.
        unsafe (descriptors, available, used) = (nil, nil, nil)
        guard let addresses, size > 0, size <= Self.maxSize, size & (size - 1) == 0,
            let descriptors = unsafe memory.at(
                user: addresses.descriptors, length: UInt64(size) * UInt64(Layout.descriptor), alignment: 16),
            let available = unsafe memory.at(
                user: addresses.available, length: Layout.ringHead + UInt64(size) * 2, alignment: 2),
            let used = unsafe memory.at(user: addresses.used, length: Layout.ringHead + UInt64(size) * 8, alignment: 4)
        else { return }
        unsafe (self.descriptors, self.available, self.used) = (descriptors, available, used)
        // SAFETY: the memory table has checked the address, length and alignment of each ring.
        lastUsed = unsafe clx_load16(used + 2)
    }

    /// Takes the next chain.
    /// - Returns: false when the guest offers none.
    /// - Throws: when the guest breaks the protocol.
    mutating func pop(_ chain: inout Chain, _ memory: GuestMemory) throws(Violation) -> Bool {
        // SAFETY: the pointers are compared with nil.
        guard isReady, let available = unsafe available, let descriptors = unsafe descriptors else { return false }
        // SAFETY: `slot` and `index` are below `size`, so every entry lies within its ring.
        let pending = unsafe clx_load16(available + 2) &- lastAvailable
        if pending == 0 { return false }
        guard pending <= size else { throw .runawayIndex }
        let slot = Int(UInt32(lastAvailable) % size)
        unsafe chain.reset(clx_load16(available + 4 + 2 * slot))
        var index = UInt32(chain.head)
        for _ in 0..<size {
            guard index < size else { throw .descriptorIndex }
            // Reads each field once, by one load: the guest may change it at any time.
            let entry = unsafe descriptors + Int(index) * Layout.descriptor
            let address = unsafe clx_load64(entry)
            let length = unsafe clx_load32(entry + 8)
            let flags = unsafe clx_load16(entry + 12)
            let next = unsafe clx_load16(entry + 14)
            // SAFETY: one region holds all bytes of the buffer, and the chain is used before the table changes.
            guard let base = unsafe memory.at(guest: address, length: UInt64(length)) else { throw .address }
            let buffer = unsafe iovec(iov_base: base, iov_len: Int(length))
            if flags & Flags.write != 0 {
                unsafe chain.writable.append(buffer)
            } else {
                // Readable buffers come before writable ones (2.7.4.2).
                guard unsafe chain.writable.isEmpty else { throw .order }
                unsafe chain.readable.append(buffer)
            }
            if flags & Flags.next == 0 {
                lastAvailable &+= 1
                return true
            }
            index = UInt32(next)
        }
        throw .loop
    }

    /// Puts the last chain back into the queue.
    mutating func unpop() { lastAvailable &-= 1 }

    /// Returns a chain to the guest, with `written` bytes in its writable buffers.
    mutating func push(_ chain: Chain, written: UInt32) {
        // SAFETY: the pointer is compared with nil.
        guard let used = unsafe used else { return }
        // SAFETY: the remainder is below `size`, so the entry lies within the ring.
        let entry = unsafe used + 4 + Int(UInt32(lastUsed) % size) * 8
        unsafe clx_store32(entry, UInt32(chain.head))
        unsafe clx_store32(entry + 4, written)
        lastUsed &+= 1
        unsafe clx_store16(used + 2, lastUsed)
    }

    /// Whether the guest wants interrupts for returned chains (2.7.7).
    var wantsInterrupt: Bool {
        guard let available = unsafe available else { return false }
        clx_fence()
        // SAFETY: the ring begins with its flags, and is mapped as long as its pointer is set.
        return unsafe clx_load16(available) & Flags.noInterrupt == 0
    }
}
