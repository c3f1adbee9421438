import CLinux
import LinuxKernel

/// Attributes that mount_setattr(2) changes.
package enum MountAttributes {
    /// - Parameters:
    ///   - path: of the mount, or of its descriptor below /proc/self/fd.
    ///   - name: what errors call it.
    /// - Throws: `SystemError` with the errno of mount_setattr(2), such as EINVAL for a path that is no mount point.
    package static func makeReadOnly(_ path: String, recursive: Bool = false, called name: String) throws(SystemError) {
        // SAFETY: the call only reads the path.
        try unsafe checkNegativeErrno(
            "make read-only", name, clx_mount_setattr(path, MountAttribute.readOnly, 0, recursive ? 1 : 0))
    }
}
