/// A descriptor that several owners keep open.
package final class SharedDescriptor: Sendable {
    package let descriptor: FileDescriptor
    package init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    package var raw: Int32 { descriptor.raw }
}
