import CLinux
import Glibc

/// The device's side of a split virtqueue (virtio 1.2, 2.7). The guest may write anything into the rings at any time.
struct Virtqueue {
    /// The buffers of one descriptor chain, as pointers into guest memory.
    struct Chain {
        var head: UInt16 = 0
        var readable: [iovec] = []
        var writable: [iovec] = []

        fileprivate mutating func reset(_ head: UInt16) {
            self.head = head
            readable.removeAll(keepingCapacity: true)
            writable.removeAll(keepingCapacity: true)
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

    var isReady: Bool { enabled && size > 0 && used != nil }

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
        (descriptors, available, used) = (nil, nil, nil)
        guard let addresses, size > 0, size <= Self.maxSize, size & (size - 1) == 0,
            let descriptors = memory.at(
                user: addresses.descriptors, length: UInt64(size) * UInt64(Layout.descriptor), alignment: 16),
            let available = memory.at(
                user: addresses.available, length: Layout.ringHead + UInt64(size) * 2, alignment: 2),
            let used = memory.at(user: addresses.used, length: Layout.ringHead + UInt64(size) * 8, alignment: 4)
        else { return }
        (self.descriptors, self.available, self.used) = (descriptors, available, used)
        lastUsed = clx_load16(used + 2)
    }

    /// Takes the next chain.
    /// - Returns: false when the guest offers none.
    /// - Throws: when the guest breaks the protocol.
    mutating func pop(_ chain: inout Chain, _ memory: GuestMemory) throws(Violation) -> Bool {
        guard isReady, let available, let descriptors else { return false }
        let pending = clx_load16(available + 2) &- lastAvailable
        if pending == 0 { return false }
        guard pending <= size else { throw .runawayIndex }
        let slot = Int(UInt32(lastAvailable) % size)
        chain.reset(clx_load16(available + 4 + 2 * slot))
        var index = UInt32(chain.head)
        for _ in 0..<size {
            guard index < size else { throw .descriptorIndex }
            // Reads each field once, by one load: the guest may change it at any time.
            let entry = descriptors + Int(index) * Layout.descriptor
            let address = clx_load64(entry)
            let length = clx_load32(entry + 8)
            let flags = clx_load16(entry + 12)
            let next = clx_load16(entry + 14)
            guard let base = memory.at(guest: address, length: UInt64(length)) else { throw .address }
            let buffer = iovec(iov_base: base, iov_len: Int(length))
            if flags & Flags.write != 0 {
                chain.writable.append(buffer)
            } else {
                // Readable buffers come before writable ones (2.7.4.2).
                guard chain.writable.isEmpty else { throw .order }
                chain.readable.append(buffer)
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
        guard let used else { return }
        let entry = used + 4 + Int(UInt32(lastUsed) % size) * 8
        clx_store32(entry, UInt32(chain.head))
        clx_store32(entry + 4, written)
        lastUsed &+= 1
        clx_store16(used + 2, lastUsed)
    }

    /// Whether the guest wants interrupts for returned chains (2.7.7).
    var wantsInterrupt: Bool {
        guard let available else { return false }
        clx_fence()
        return clx_load16(available) & Flags.noInterrupt == 0
    }
}
