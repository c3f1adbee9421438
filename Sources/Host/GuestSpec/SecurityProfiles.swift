import AgentAPI
import OCISpec

extension OCISpec.Process {
    /// Removes or replaces profiles of the host's security modules, for a container's first process and added ones.
    /// - Parameter guestSELinux: labels go to the guest.
    package mutating func replaceHostProfiles(guestSELinux: Bool) {
        if !guestSELinux { selinuxLabel = nil }
        guard let profile = apparmorProfile else { return }
        if ["", "unconfined"].contains(profile) {
            apparmorProfile = nil
        } else if Self.isManagersDefault(profile) {
            // A process has one or the other, and a label is here only if the guest is to apply it.
            apparmorProfile = (selinuxLabel ?? "").isEmpty ? GuestAppArmor.profile : nil
        }
    }

    /// Whether a manager gives this profile to every container of a host with AppArmor. The guest has one in its place.
    /// Any other profile was chosen on purpose: it goes to the guest, which refuses it unless it is loaded there.
    private static func isManagersDefault(_ profile: String) -> Bool {
        ["docker-default", "cri-containerd.apparmor.d", "nerdctl-default", "crio-default", "default"].contains(profile)
            // Those of older CRI-O, and of Podman and Buildah, have a version.
            || ["crio-default-", "containers-default-"].contains { prefix in
                profile.hasPrefix(prefix) && profile.dropFirst(prefix.count).first?.isNumber == true
            }
    }
}
