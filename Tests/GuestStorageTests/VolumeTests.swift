import AgentAPI
import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import GuestStorage

@Suite("Volumes in the guest's memory", .enabled(if: getuid() == 0, "needs root: it mounts"))
struct VolumeTests {
    private func volume(_ path: String, shared: Bool, _ options: [String] = []) -> Grpc_Storage {
        var storage = Grpc_Storage()
        (storage.driver, storage.source, storage.fstype) = (StorageDriver.ephemeral, "tmpfs", "tmpfs")
        (storage.mountPoint, storage.options, storage.shared) = (path, options, shared)
        return storage
    }

    private func directory(_ place: String, in volume: String, at path: String) -> Grpc_Storage {
        var storage = Grpc_Storage()
        (storage.driver, storage.source, storage.mountPoint) = (StorageDriver.bind, volume, path)
        storage.driverOptions = VolumeDirectory(place: place, mode: 0o2770, owner: 0, group: 2000).options
        return storage
    }

    private func facts(_ path: String) throws -> stat { try FoundFile(path).facts }

    @Test("a volume is mounted once, with its group, and stays without users if it belongs to the sandbox")
    func users() throws {
        let scratch = Scratch()
        try inOwnMounts {
            let (mounts, kept, other) = (SharedMounts(), scratch.path + "/kept", scratch.path + "/other")
            for _ in 0..<2 {
                try mounts.mount(volume(kept, shared: true, ["mode=777", "size=1m", "fsgid=2000", "noexec"]))
                try mounts.mount(volume(other, shared: false))
                try? Files.write(kept + "/file", "x")
            }
            let facts = try facts(kept)
            #expect(facts.st_mode & 0o7777 == 0o2777 && facts.st_gid == 2000)
            #expect(try self.facts(kept + "/file").st_gid == 2000)
            #expect([kept, other, kept, other].map { mounts.release($0) } == [false, false, false, true])
            try mounts.mount(volume(kept, shared: true))
            #expect(try Files.readText(kept + "/file") == "x")
            let wrong = volume(scratch.path + "/wrong", shared: true, ["fsgid=x"])
            #expect(throws: (any Error).self) { try mounts.mount(wrong) }
            #expect(MemoryFileSystem.find(at: wrong.mountPoint)?.mountPoints.contains(wrong.mountPoint) != true)
        }
    }

    @Test("a directory of a volume is made with its attributes, a file in its place is mounted, a link is refused")
    func directories() throws {
        let scratch = Scratch()
        try inOwnMounts {
            let (all, part) = (scratch.path + "/all", scratch.path + "/part")
            try StorageMounter.mount(volume(all, shared: true), hotPlugTimeout: .zero)
            try StorageMounter.mount(directory("/a/b", in: all, at: part), hotPlugTimeout: .zero)
            try Files.write(part + "/x", "x")
            let facts = try facts(all + "/a/b")
            #expect(facts.st_mode & 0o7777 == 0o2770 && facts.st_gid == 2000)
            #expect(try Files.readText(all + "/a/b/x") == "x")
            try StorageMounter.mount(directory("/a/b/x", in: all, at: scratch.path + "/file"), hotPlugTimeout: .zero)
            #expect(try Files.readText(scratch.path + "/file") == "x")
            symlink("/", all + "/link")
            for place in ["/link", "/link/etc"] {
                let storage = directory(place, in: all, at: scratch.path + "/no")
                let error = #expect(throws: SystemError.self) {
                    try StorageMounter.mount(storage, hotPlugTimeout: .zero)
                }
                #expect(error?.description.contains("open \(place) in") == true)
            }
        }
    }
}
