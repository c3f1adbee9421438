import Glibc
import LinuxKernel
import Testing

@Suite("The host's vsock")
struct VsockTests {
    @Test("a guest's number is one that no other guest has; after some tries the kernel's refusal decides")
    func numbers() {
        var next: UInt32 = 2
        func candidate() -> UInt32 {
            next += 1
            return next
        }
        #expect(Vsock.freeNumber(candidate) { $0 < 6 } == 6)
        next = 2
        #expect(Vsock.freeNumber(candidate) { _ in true } == 18)
    }

    @Test("a host without the device says so")
    func missing() throws {
        guard access(Vsock.vhost, F_OK) != 0 else { return }
        #expect(throws: SystemError.self) { _ = try Vsock.device(for: 3) }
        #expect(Vsock.freeNumber({ 7 }) == 7)
    }
}
