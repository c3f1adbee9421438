import Testing

@testable import OCISpec

@Suite("config.json")
struct SpecTests {
    private func decode(_ text: String) throws -> Spec {
        try Spec.decode(json: Array(text.utf8), source: "config.json")
    }

    @Test("the example survives a round trip and is valid")
    func example() throws {
        let again = try Spec.decode(json: Spec.example.json(pretty: true), source: "config.json")
        #expect(again == Spec.example)
        try again.validate(source: "config.json")
    }

    @Test("unknown fields are ignored, as the specification asks")
    func unknownFields() throws {
        #expect(try decode(#"{"ociVersion":"1.0.2","vm":{},"x":1}"#).ociVersion == "1.0.2")
    }

    @Test(
        "an error names the file, the place and what is expected",
        arguments: [
            (#"{"#, "config.json: not valid JSON"),
            (#"{}"#, "config.json: ociVersion: missing"),
            (
                #"{"ociVersion":"1.0.2","process":{"user":{"uid":"x","gid":0},"cwd":"/"}}"#,
                "config.json: process.user.uid: expected a whole number"
            ),
            (#"{"ociVersion":"1.0.2","mounts":[{"source":"x"}]}"#, "config.json: mounts[0].destination: missing"),
        ])
    func errors(text: String, expected: String) {
        do {
            _ = try decode(text)
            Issue.record("accepted \(text)")
        } catch { #expect("\(error)" == expected) }
    }

    @Test(
        "rules of config.md are checked before anything is started",
        arguments: [
            (#"{"ociVersion":"2.0.0"}"#, "ociVersion"), (#"{"ociVersion":"1.0.2"}"#, "root.path"),
            (#"{"ociVersion":"1.0.2","root":{"path":"r"},"mounts":[{"destination":"x"}]}"#, "mounts[0].destination"),
            (
                #"{"ociVersion":"1.0.2","root":{"path":"r"},"linux":{"namespaces":[{"type":"x"}]}}"#,
                "linux.namespaces[0].type"
            ),
            (
                #"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"cwd":"/"}}"#,
                "process.args"
            ),
            (
                #"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"cwd":"x","args":["a"]}}"#,
                "process.cwd"
            ),
        ])
    func rules(text: String, path: String) throws {
        let spec = try decode(text)
        do {
            try spec.validate(source: "config.json")
            Issue.record("accepted \(text)")
        } catch { #expect(error.path == path) }
    }

    @Test("a field without effect is named")
    func withoutEffect() throws {
        let spec = try decode(
            #"{"ociVersion":"1.0.2","hooks":{"prestart":[{"path":"/x"}]},"linux":{"devices":[{"type":"c","path":"/dev/x"}]}}"#
        )
        #expect(spec.withoutEffect == ["hooks", "linux.devices"])
        #expect(Spec.example.withoutEffect.isEmpty)
    }
}
