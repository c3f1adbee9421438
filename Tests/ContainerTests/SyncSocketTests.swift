import Glibc
import Testing

@testable import Container
@testable import LinuxKernel

@Suite("The agent's protocol with a process's init")
struct SyncSocketTests {
    @Test("silence past the limit is a failure, not the end that means a started program")
    func silence() throws {
        let ends = try SocketPair()
        let agent = SyncSocket(try ends.ours.duplicate())
        agent.setLimit(.seconds(60))
        let other = SyncSocket(ends.keepingTheirs())
        try other.send(.ready)
        #expect(agent.next() == .ready)
        agent.setLimit(.seconds(1))
        #expect(agent.next() == .failure("the process's init took too long"))
        _ = consume other
        #expect(agent.next() == .end)
    }

    @Test("a document that is late, cut off or longer than announced is refused")
    func documents() throws {
        func receive(_ packets: [[UInt8]], closes: Bool) throws -> [UInt8] {
            let ends = try SocketPair()
            let receiver = SyncSocket(try ends.ours.duplicate())
            receiver.setLimit(.milliseconds(100))
            let sender = ends.keepingTheirs()
            for packet in packets { try sender.send(packet, descriptors: []) }
            if closes {
                _ = consume sender
                return try receiver.receiveDocument()
            }
            let document = try receiver.receiveDocument()
            _ = consume sender
            return document
        }
        #expect(try receive([[3, 0, 0, 0], [1, 2], [3]], closes: false) == [1, 2, 3])
        for (packets, closes, errno) in [
            ([[3, 0, 0, 0], [1, 2]], false, ETIMEDOUT), ([], false, ETIMEDOUT),
            ([[3, 0, 0, 0], [1, 2]], true, EPIPE), ([[3, 0]], false, EPIPE),
            ([[3, 0, 0, 0], [1, 2, 3, 4]], false, EBADMSG),
        ] as [([[UInt8]], Bool, Int32)] {
            #expect(throws: SystemError("read", "plan", errno: errno)) { try receive(packets, closes: closes) }
        }
    }

    @Test("an error page needs no system call, and is empty at first")
    func errorPage() throws {
        let page = try ErrorPage.make()
        #expect(ErrorPage.read(page) == "")
        let mapped = try #require(mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page.raw, 0))
        memcpy(mapped, "execute /x: no", 14)
        munmap(mapped, 4096)
        #expect(ErrorPage.read(page) == "execute /x: no")
    }
}
