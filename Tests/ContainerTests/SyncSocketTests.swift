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
