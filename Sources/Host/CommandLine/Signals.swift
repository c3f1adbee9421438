import Glibc

/// Signals by name, with or without SIG, or by number (signal(7)).
package enum Signals {
    private static let names: [String: Int32] = [
        "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
        "SEGV": 11, "USR2": 12,
        "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21,
        "TTOU": 22,
        "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "PWR": 30, "SYS": 31,
    ]

    /// The first real-time signal that glibc leaves to programs (SIGRTMIN).
    private static let firstRealTime: Int32 = 34

    /// The number of a signal; 0 is none, and tells whether a process would get one (kill(2)).
    /// - Throws: `RuntimeError` for an unknown name, and for a number that is not within 0 and 64.
    package static func number(_ text: String) throws(RuntimeError) -> Int32 {
        if let number = Int32(text) {
            guard (0...64).contains(number) else { throw RuntimeError("signal \(number) is not within 0 and 64") }
            return number
        }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let number = names[name] { return number }
        if name.hasPrefix("RTMIN+"), let offset = Int32(name.dropFirst(6)), (0...30).contains(offset) {
            return firstRealTime + offset
        }
        if name == "RTMIN" { return firstRealTime }
        throw RuntimeError("unknown signal \"\(text)\"")
    }
}
