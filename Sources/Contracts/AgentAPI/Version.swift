/// The version of all programs: runtime, shim and agent are released together.
package enum Version {
    package static let current = "0.1.0"
}
