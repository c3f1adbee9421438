import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@testable import OCISpec

@Suite("paths and bounds of config.json")
struct BundlePathsTests {
    private func load(_ fields: String) throws -> Spec {
        let scratch = Scratch()
        try Files.write(scratch.path + "/config.json", #"{"ociVersion":"1.2.0","root":{"path":"r"}"# + fields + "}")
        var spec = try Spec.load(bundle: scratch.path)
        // To be compared.
        for (index, mount) in (spec.mounts ?? []).enumerated() {
            spec.mounts?[index].source = mount.source?.replacing(scratch.path, with: "BUNDLE")
        }
        #expect(spec.root?.path == scratch.path + "/r")
        return spec
    }

    @Test("root and bound directories are the bundle's, destinations the container's, whatever the working directory")
    func relative() throws {
        let spec = try load(
            #"""
            ,"mounts":[{"destination":"/a","source":".","type":"bind"},{"destination":"b/../c/","source":"./x/../y","options":["rbind"]},
              {"destination":"//d","source":"/y/./z","type":"bind"},{"destination":"/e","source":"e","type":"tmpfs"}]
            """#)
        #expect(spec.mounts?.map(\.source) == ["BUNDLE", "BUNDLE/y", "/y/./z", "e"])
        #expect(spec.mounts?.map(\.destination) == ["/a", "/c", "/d", "/e"])
    }

    @Test("a bundle is found from the working directory, and its paths are absolute all the same")
    func workingDirectory() throws {
        let scratch = Scratch()
        try Files.write(scratch.path + "/config.json", #"{"ociVersion":"1.2.0","root":{"path":"/abs"}}"#)
        let relative = String(repeating: "../", count: 40) + scratch.path.dropFirst()
        #expect(try Spec.load(bundle: relative).root?.path == "/abs")
    }

    @Test(
        "other paths that are not absolute are refused with their place",
        arguments: [
            (#""mounts":[{"destination":"/a","type":"bind"}]"#, "mounts[0].source"),
            (#""mounts":[{"destination":"","type":"tmpfs"}]"#, "mounts[0].destination"),
            (
                #""mounts":[{"destination":"/a","type":"overlay","source":"overlay","options":["lowerdir=/a:b"]}]"#,
                "mounts[0].options"
            ),
            (#""linux":{"namespaces":[{"type":"pid","path":"ns/pid"}]}"#, "linux.namespaces[0].path"),
            (#""linux":{"devices":[{"type":"c","path":"dev/x","major":1,"minor":3}]}"#, "linux.devices[0].path"),
            (#""linux":{"maskedPaths":["/a","proc/x"]}"#, "linux.maskedPaths[1]"),
            (#""linux":{"readonlyPaths":["proc/x"]}"#, "linux.readonlyPaths[0]"),
            (
                #""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"x.sock"}}"#,
                "linux.seccomp.listenerPath"
            ),
            (#""hooks":{"createRuntime":[{"path":"bin/x"}]}"#, "hooks.createRuntime[0].path"),
            (#""process":{"args":["a"],"cwd":"work"}"#, "process.cwd"),
        ])
    func refused(field: String, path: String) {
        do {
            _ = try load("," + field)
            Issue.record("accepted \(field)")
        } catch { #expect((error as? SpecError)?.path == path, "\(error)") }
    }

    @Test("a process without a user, and a user without ids, are root's")
    func users() throws {
        func user(_ text: String) throws -> Process.User {
            try Process.decode(json: Array(#"{"args":["a"],"cwd":"/"\#(text)}"#.utf8), source: "process.json").user
        }
        for text in ["", #","user":null"#, #","user":{}"#, #","user":{"gid":0}"#] {
            #expect(try user(text) == Process.User(), "\(text)")
        }
        let given = try user(#","user":{"uid":7,"additionalGids":[3],"umask":63}"#)
        #expect(given.uid == 7 && given.gid == 0 && given.additionalGids == [3] && given.umask == 63)
        #expect(throws: SpecError("process.json", "user.gid", "-1 is out of range")) {
            try user(#","user":{"gid":-1}"#)
        }
    }

    // MARK: Depth

    private func nested(_ levels: Int, _ open: String = "[", _ close: String = "]") -> [UInt8] {
        Array((String(repeating: open, count: levels) + "0" + String(repeating: close, count: levels)).utf8)
    }

    @Test(
        "a document at the limit of nesting is decoded on the smallest stack that is used, and one beyond it is refused"
    )
    func depth() throws {
        final class Outcome: Sendable { let text = Mutex("") }
        let outcome = Outcome()
        for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
            let (atLimit, beyond) = (nested(JSONBounds.depth, open, close), nested(JSONBounds.depth + 1, open, close))
            try runThread("stack") {
                let value = try? JSONValue.decode(json: atLimit, source: "x")
                let again = value?.json() ?? []
                let isRefused = (try? JSONValue.decode(json: beyond, source: "x")) == nil
                outcome.text.withLock { $0 += "\(again == atLimit) \(isRefused) " }
            }
        }
        #expect(outcome.text.withLock { $0 } == "true true true true ")
        #expect(throws: SpecError("config.json", "", "lists and objects are nested more than 32 levels deep")) {
            try Spec.decode(
                json: Array(#"{"ociVersion":"1.2.0","x":"#.utf8) + nested(5000) + Array("}".utf8), source: "config.json"
            )
        }
    }

    @Test("brackets in text are no levels, and no other encoding hides them")
    func brackets() throws {
        #expect(JSONBounds.levels(Array(#"{"a[[\"{{":"\\","b":[1,{"c":"]"}]}"#.utf8)) == 3)
        let wide = nested(200).flatMap { [$0, UInt8(0)] }
        #expect(throws: SpecError("x", "", "not valid JSON: not in UTF-8")) {
            try JSONValue.decode(json: wide, source: "x")
        }
    }
}
