/// The guest's own AppArmor profile, which replaces the managers' default profiles.
package enum GuestAppArmor {
    /// The profile's name, as in config/apparmor.
    package static let profile = "kata-default"
    /// The compiled profile in the guest's root; scripts/build-guest puts it there.
    package static let policy = "/etc/kata-apparmor"
}
