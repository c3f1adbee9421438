/// A patch for the distribution's sources, which is part of this program. It is a file in patches/ in the format of
/// patch(1), which begins with its reason.
package struct KernelPatch: Sendable, Equatable {
    package let name: String
    package let text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }

    /// All patches in the order of their application.
    package static let all = [
        KernelPatch(name: "apic-timer.patch", PackageResources.apic_timer_patch),
        KernelPatch(name: "known-branches.patch", PackageResources.known_branches_patch),
        KernelPatch(name: "keep-initmem.patch", PackageResources.keep_initmem_patch),
    ]

    private init(name: String, _ bytes: [UInt8]) { self.init(name: name, text: String(decoding: bytes, as: UTF8.self)) }
}
