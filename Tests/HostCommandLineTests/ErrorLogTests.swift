import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import CommandLine

@Suite("The log of the command line")
struct ErrorLogTests {
    private let scratch = Scratch()
    private var path: String { scratch.path + "/log" }

    @Test("the file is there before there is a line, and one that can't be made is an error")
    func file() throws {
        try ErrorLog().configure(path: path, json: false)
        #expect(try Files.readText(path) == "")
        let error = #expect(throws: SystemError.self) { try ErrorLog().configure(path: path + "/x", json: false) }
        #expect(error?.code == ENOTDIR)
    }

    @Test("debug lines are written as text or JSON when they are asked for", arguments: [false, true])
    func debug(json: Bool) throws {
        let log = ErrorLog()
        try log.configure(path: path, json: json)
        log.debug("unseen")
        log.enableDebug()
        log.debug("a \"quoted\" word")
        let text = try Files.readText(path)
        let expected =
            json
            ? #"{"level":"debug","msg":"a \"quoted\" word","time":""# : #"level=debug msg="a \"quoted\" word""# + "\n"
        #expect(json ? text.hasPrefix(expected) : text.hasSuffix(expected), "\(text)")
        #expect(text.split(separator: "\n").count == 1)
    }

    @Test("a command on a container says in which sandbox it is")
    func context() throws {
        let place = try CommandPlace()
        try place.save(place.state("c", sandbox: "s"))
        try ErrorLog.shared.configure(path: path, json: false)
        ErrorLog.shared.enableDebug()
        _ = try place.context.state("c")
        try ErrorLog.shared.configure(path: nil, json: false)
        #expect(try Files.readText(path).contains("level=debug msg=\"container c is in sandbox s, its shim serves "))
    }
}
