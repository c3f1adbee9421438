import Glibc

/// The header of a vsock packet: 44 bytes, little-endian (virtio 1.2, 5.10.6).
struct VsockPacket: Equatable {
    enum Operation: UInt16 {
        case invalid = 0
        case request, response, reset, shutdown, readWrite, creditUpdate, creditRequest
    }

    static let headerLength = 44
    static let hostCID: UInt64 = 2
    /// VIRTIO_VSOCK_TYPE_STREAM, and flags of a shutdown.
    static let stream: UInt16 = 1
    static let shutdownReceive: UInt32 = 1
    static let shutdownSend: UInt32 = 2

    var sourceCID: UInt64
    var destinationCID: UInt64
    var sourcePort: UInt32
    var destinationPort: UInt32
    var length: UInt32 = 0
    var type = VsockPacket.stream
    var operation: UInt16
    var flags: UInt32 = 0
    var bufferSpace: UInt32 = 0
    var forwarded: UInt32 = 0

    func write(to target: UnsafeMutableRawPointer) {
        // SAFETY: the caller's memory has room for a header of 44 bytes, aligned to eight.
        unsafe target.storeBytes(of: sourceCID.littleEndian, as: UInt64.self)
        unsafe (target + 8).storeBytes(of: destinationCID.littleEndian, as: UInt64.self)
        unsafe (target + 16).storeBytes(of: sourcePort.littleEndian, as: UInt32.self)
        unsafe (target + 20).storeBytes(of: destinationPort.littleEndian, as: UInt32.self)
        unsafe (target + 24).storeBytes(of: length.littleEndian, as: UInt32.self)
        unsafe (target + 28).storeBytes(of: type.littleEndian, as: UInt16.self)
        unsafe (target + 30).storeBytes(of: operation.littleEndian, as: UInt16.self)
        unsafe (target + 32).storeBytes(of: flags.littleEndian, as: UInt32.self)
        unsafe (target + 36).storeBytes(of: bufferSpace.littleEndian, as: UInt32.self)
        unsafe (target + 40).storeBytes(of: forwarded.littleEndian, as: UInt32.self)
    }
}

extension VsockPacket {
    /// Reads a header.
    /// - Parameter bytes: at least `headerLength` bytes.
    init(_ bytes: UnsafeRawPointer) {
        func load<Value: FixedWidthInteger>(_ offset: Int, _ type: Value.Type) -> Value {
            // SAFETY: the caller's memory holds a whole header.
            unsafe Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        self.init(
            sourceCID: load(0, UInt64.self), destinationCID: load(8, UInt64.self), sourcePort: load(16, UInt32.self),
            destinationPort: load(20, UInt32.self), length: load(24, UInt32.self), type: load(28, UInt16.self),
            operation: load(30, UInt16.self), flags: load(32, UInt32.self), bufferSpace: load(36, UInt32.self),
            forwarded: load(40, UInt32.self))
    }
}
