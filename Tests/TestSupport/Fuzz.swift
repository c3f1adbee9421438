import Glibc

/// How long fuzz tests go on: `make fuzz` gives them more than `make test` does.
package enum Fuzz {
    /// - Parameter few: in `make test`.
    package static func rounds(_ few: Int) -> Int {
        let factor = getenv("KATA_FUZZ").flatMap { Int(String(cString: $0)) } ?? 1
        return few * max(1, factor)
    }
}
