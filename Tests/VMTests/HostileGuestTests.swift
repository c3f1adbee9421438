import Foundation
import Testing

@Suite(
    "a guest whose kernel and agent are its host's enemies", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct HostileGuestTests {
    /// Gives `lab` a guest whose init is attack/attack.c, `parameters` for its kernel, and shell functions.
    private func prepare(_ lab: Lab, _ parameters: String) -> String {
        """
        k() { \(lab.kata) "$@"; }
        cp configuration.toml sound.toml; sound() { \(lab.kata) --kata-config sound.toml "$@"; }
        mkdir image && gcc -static -O2 -o image/attack \(Lab.source!)/Tests/VMTests/attack/attack.c || exit
        initrd=$(sed -n 's/^initrd = "\\(.*\\)"/\\1/p' configuration.toml)
        { cat $initrd; (cd image && find . | cpio -o -H newc 2> /dev/null); } > initrd
        sed -i "s|^initrd = .*|initrd = \\"$PWD/initrd\\"|; s|^kernel_params = .*|kernel_params = \\"rdinit=/attack \(parameters)\\"|" configuration.toml
        """
    }

    @Test(
        "floods of connections and words, and rings that no driver would write, cost the guest itself: the shim stays as it is, others go on, the deletion is quick"
    )
    func attack() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("exec sleep 1000")
        let outcome = try lab.sh(
            """
            \(prepare(lab, ""))
            mkdir other; cp -r rootfs other/; jq ".root.path = \\"$PWD/other/rootfs\\"" bundle/config.json > other/config.json
            sound create -b other t-beside < /dev/null > out 2>&1 && sound start t-beside || cat out
            k create -b bundle t-attack < /dev/null > out 2>&1 && k start t-attack || cat out
            shim=$(pgrep -f '[-]id t-attack( |$)')
            size() { awk '/^Pss:/ {print $2}' /proc/$shim/smaps_rollup; }
            open() { ls /proc/$shim/fd | wc -l; }
            sees() { for i in $(seq 400); do grep -s "^$1" rootfs/tmp/report && return; sleep 0.1; done; echo "no $1: $(cat rootfs/tmp/report)"; }
            grep -o 'attack: rings [-0-9]*' /run/vc/vm/t-attack/console.log
            k exec t-attack true; before=$(size) descriptors=$(open); touch rootfs/tmp/begin
            for i in 1 2 3; do k exec t-attack echo own; sound exec t-beside echo beside; done
            sees connections; sees console
            touch rootfs/tmp/share; sleep 1; sound exec t-beside echo beside
            [ -d /proc/$shim ] && echo lives; [ $(size) -lt $((before + 6144)) ] || echo "grew from $before to $(size) kB"
            [ $(open) -le $((descriptors + 4)) ] || echo "descriptors: $descriptors, then $(open)"
            [ $(du -sk /run/vc/vm/t-attack | cut -f 1) -lt 1300 ] && echo bounded
            start=$(date +%s%N); k delete --force t-attack; echo $(($(date +%s%N) - start < 5000000000))
            sound exec t-beside echo beside; sound delete --force t-beside
            """)
        #expect(
            outcome.output
                == "attack: rings 1\nown\nbeside\nown\nbeside\nown\nbeside\nconnections 1\nconsole 1\nbeside\nlives\nbounded\n1\nbeside\n",
            "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-attack") + lab.leftovers("t-beside") == "")
    }

    @Test(
        "an agent that answers noise is reported in one line, and nothing is left",
        .enabled(if: Lab.ownKernelObstacle == nil, "\(Lab.ownKernelObstacle ?? "")"))
    func falseAgent() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("true")
        let outcome = try lab.sh("\(prepare(lab, "attack=agent")); k run -b bundle t-false; echo $?")
        #expect(outcome.output == "1\n")
        #expect(
            outcome.error.split(separator: "\n").count == 1 && outcome.error.contains("did not come up"),
            "\(outcome.error)")
        #expect(try lab.leftovers("t-false") == "")
    }
}
