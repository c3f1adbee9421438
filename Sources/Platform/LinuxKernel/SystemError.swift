import Glibc

/// A failed system call: what was tried, on what, and the kernel's answer.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    package let operation: String
    package let object: String
    /// errno(3) as the kernel gave it.
    package let code: Int32

    package init(_ operation: String, _ object: String, errno code: Int32) {
        self.operation = operation
        self.object = object
        self.code = code
    }

    package var description: String { "\(operation) \(object): \(Self.text(of: code))" }

    /// The C library's words for an errno, without its capital, as Go has them: managers read them to choose their exit status.
    package static func text(of code: Int32) -> String {
        guard let words = strerror(code) else { return "errno \(code)" }
        let text = String(cString: words)
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// The time of day.
package func timeOfDay() -> timespec {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return time
}

/// Returns `result`, or throws what errno says; interrupted calls are made again.
@discardableResult
package func check<Result: SignedInteger>(
    _ operation: String, _ object: @autoclosure () -> String, _ call: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw SystemError(operation, object(), errno: code) }
    }
}

/// The same for functions that return -errno.
@discardableResult
package func checkNegativeErrno<Result: SignedInteger>(
    _ operation: String, _ object: @autoclosure () -> String, _ result: Result
) throws(SystemError) -> Result {
    if result >= 0 { return result }
    throw SystemError(operation, object(), errno: Int32(-result))
}
