import OCISpec

extension OCISpec.Process {
    /// Removes profiles of the host's security modules, from a container's first process and from added ones.
    /// - Parameter guestSELinux: labels go to the guest.
    package mutating func removeHostProfiles(guestSELinux: Bool) {
        if !guestSELinux { selinuxLabel = nil }
        if let profile = apparmorProfile, Self.isManagersDefault(profile) { apparmorProfile = nil }
    }

    /// Profiles that managers give every container of a host with AppArmor. The VM's isolation replaces them, as the
    /// container doesn't use the host's kernel. Any other profile was chosen on purpose, and goes to the guest.
    private static func isManagersDefault(_ profile: String) -> Bool {
        let base = profile.hasPrefix("localhost/") ? "" : profile
        return ["docker-default", "cri-containerd.apparmor.d", "crio-default", "default"].contains(base)
            || base.hasPrefix("containers-default-")
    }
}
