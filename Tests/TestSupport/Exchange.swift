import Glibc
import Linux
import Synchronization

/// Exchanges two files again and again on another thread while `body` runs. Between two renames there is nothing at one of the paths.
package func exchanging(_ one: String, _ other: String, _ body: () throws -> Void) throws {
    let isOver = Flag()
    let exchanger = try Ended {
        while !isOver.value {
            rename(one, one + "+")
            rename(other, one)
            rename(one + "+", other)
        }
    }
    defer {
        isOver.set()
        exchanger.wait()
    }
    try body()
}

private final class Flag: Sendable {
    private let state = Atomic(false)
    var value: Bool { state.load(ordering: .relaxed) }
    func set() { state.store(true, ordering: .relaxed) }
}

/// A thread that can be waited for.
private final class Ended: Sendable {
    private let flag = Flag()

    init(_ body: @escaping @Sendable () -> Void) throws {
        try startThread("exchange") { [flag] in
            body()
            flag.set()
        }
    }

    func wait() { while !flag.value { sched_yield() } }
}
