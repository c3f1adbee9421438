import CLinux
import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@testable import VhostUser

extension VsockDeviceTests {
    @Suite("The device's thread")
    struct Confinement {
        /// The result of a call on a new, confined thread; the errno is 0 when it did not fail.
        private func confined(_ call: @escaping @Sendable () -> Int) throws -> Int32 {
            let code = Mutex<Int32>(-1)
            try runThread("confined") {
                guard clx_confine_device() == 0 else { return }
                let result = call()
                let failure = result < 0 ? errno : 0
                code.withLock { $0 = failure }
            }
            return code.withLock { $0 }
        }

        /// tgkill(2) with the process's first thread and no signal; Swift's Glibc does not declare it.
        private func signal(_ process: pid_t) -> Int {
            typealias Call = @convention(c) (pid_t, pid_t, Int32) -> Int32
            return Int(
                unsafeBitCast(dlsym(UnsafeMutableRawPointer(bitPattern: 0), "tgkill"), to: Call.self)(
                    process, process, 0))
        }

        @Test("opens, connects, executes and starts nothing, and makes no memory executable")
        func refused() throws {
            #expect(try confined { Int(Glibc.open("/dev/null", O_RDONLY)) } == EPERM)
            #expect(try confined { Int(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)) } == EPERM)
            #expect(try confined { Int(unlink("/tmp/nothing")) } == EPERM)
            #expect(try confined { Int(kill(getpid(), 0)) } == EPERM)
            #expect(try confined { signal(getppid()) } == EPERM)
            for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
                #expect(
                    try confined {
                        var ends: [Int32] = [-1, -1]
                        return Int(socketpair(AF_UNIX, Int32(kind.rawValue) | O_CLOEXEC, 0, &ends))
                    } == EPERM)
            }
            var ends: [Int32] = [-1, -1]
            try #require(socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0, &ends) == 0)
            defer { for end in ends { close(end) } }
            let sender = ends[0]
            let sent = try confined {
                var address = sockaddr_un()
                address.sun_family = sa_family_t(AF_UNIX)
                return withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(sender, "x", 1, 0, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                    }
                }
            }
            #expect(sent == EPERM)
            #expect(try confined { Int(fcntl(0, F_DUPFD, 3)) } == EPERM)
            #expect(
                try confined {
                    var started = true
                    do throws(SystemError) { try startThread("none") {} } catch { started = error.code != EPERM }
                    errno = EPERM
                    return started ? 0 : -1
                } == EPERM)
            #expect(
                try confined {
                    mmap(nil, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0
                } == EPERM)
        }

        @Test("does what its streams and its memory want")
        func allowed() throws {
            #expect(
                try confined {
                    var ends: [Int32] = [-1, -1]
                    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return -1 }
                    defer { for end in ends { close(end) } }
                    return Glibc.write(ends[0], "x", 1) + send(ends[1], "x", 1, Int32(MSG_NOSIGNAL))
                } == 0)
            #expect(try confined { signal(getpid()) } == 0)
            #expect(try confined { [UInt8](repeating: 1, count: 8 << 20).count } == 0)
            #expect(try confined { Int(fcntl(0, F_GETFL)) } == 0)
        }

        @Test("is the only one that is confined: not those that are called, nor any other")
        func alone() async throws {
            try await withDevice { device, guest in
                let thread = try #require(Threads.newest("vsock"))
                let (before, mine) = (
                    Threads.status(of: getpid(), "Seccomp"), Threads.status(of: getpid(), "NoNewPrivs")
                )
                #expect(Threads.status(of: thread, "Seccomp") == "2")
                #expect(Threads.status(of: thread, "NoNewPrivs") == "1")
                let opened = Mutex<Int32?>(nil)
                device.listen(port: 2000) { socket in
                    close(socket)
                    let file = Glibc.open("/dev/null", O_RDONLY)
                    if file >= 0 { close(file) }
                    opened.withLock { $0 = file }
                }
                guest.offerReceiveBuffer()
                guest.transmit(packet(.request, from: 5, to: 2000))
                try await eventually { opened.withLock { $0 } != nil }
                #expect((opened.withLock { $0 } ?? -1) >= 0)
                let other = try #require(Threads.newest("vsock-calls"))
                for (thread, field, value) in [
                    (other, "Seccomp", before), (other, "NoNewPrivs", mine), (getpid(), "Seccomp", before),
                ] { #expect(Threads.status(of: thread, field) == value) }
            }
        }
    }
}
