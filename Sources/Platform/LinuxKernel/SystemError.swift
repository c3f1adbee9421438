import Glibc

/// A failed system call: the operation, its object and the errno.
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

    /// The C library's text for an errno, in lower case as in Go: managers parse it to choose their exit status.
    package static func text(of code: Int32) -> String {
        // SAFETY: strerror(3) keeps the text until the next call of this thread; it is copied before.
        guard let words = unsafe strerror(code) else { return "errno \(code)" }
        let text = unsafe String(cString: words)
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// The time of day.
package func timeOfDay() -> timespec {
    var time = timespec()
    // SAFETY: clock_gettime(2) fills the whole structure.
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return time
}

/// Calls `call`, and repeats it on EINTR.
/// - Throws: the errno when the result is negative.
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

/// Checks the result of a function that returns -errno.
/// - Throws: `SystemError` with the errno when the result is negative.
@discardableResult
package func checkNegativeErrno<Result: SignedInteger>(
    _ operation: String, _ object: @autoclosure () -> String, _ result: Result
) throws(SystemError) -> Result {
    if result >= 0 { return result }
    throw SystemError(operation, object(), errno: Int32(-result))
}
