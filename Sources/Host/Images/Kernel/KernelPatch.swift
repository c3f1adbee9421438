/// A change to the distribution's sources, which is part of this program: a file below patches/, in the form of patch(1), that begins with its reason.
package struct KernelPatch: Sendable, Equatable {
    package let name: String
    package let text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }

    /// In the order in which they are applied.
    package static let all = [
        KernelPatch(name: "apic-timer.patch", PackageResources.apic_timer_patch),
        KernelPatch(name: "known-branches.patch", PackageResources.known_branches_patch),
        KernelPatch(name: "keep-initmem.patch", PackageResources.keep_initmem_patch),
    ]

    private init(name: String, _ bytes: [UInt8]) { self.init(name: name, text: String(decoding: bytes, as: UTF8.self)) }
}
