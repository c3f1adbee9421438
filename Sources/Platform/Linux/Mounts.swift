import Glibc

/// mount(2) and umount2(2).
package enum Mounts {
    package static func mount(
        _ source: String, at target: String, type: String? = nil, flags: UInt = 0, data: String? = nil
    ) throws(SystemError) {
        try check("mount \(type ?? source) on", target) { Glibc.mount(source, target, type, flags, data) }
    }

    /// Bind-mounts `source` on `target`; with `readOnly`, a second mount call takes the write permission (mount(2), remount).
    package static func bind(_ source: String, at target: String, readOnly: Bool = false, recursive: Bool = true)
        throws(SystemError)
    {
        let flags = UInt(MS_BIND) | (recursive ? UInt(MS_REC) : 0)
        try mount(source, at: target, flags: flags)
        if readOnly { try mount(source, at: target, flags: flags | UInt(MS_REMOUNT) | UInt(MS_RDONLY)) }
    }

    /// Detaches whatever is mounted at `target`; nothing mounted is no error.
    package static func detach(_ target: String) {
        while umount2(target, Int32(MNT_DETACH)) == 0 {}
    }
}
