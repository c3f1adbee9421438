import Foundation
import Testing

@Suite(
    "a guest that turns on its host", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(10)))
struct IsolationTests {
    @Test("a guest can write where it may, and nowhere else: not beside its mounts, not into a read-only volume")
    func share() throws {
        let lab = try Lab()
        defer { lab.remove() }
        // The guest's root mounts the share once more, around the container's own mounts.
        try lab.bundle(
            """
            mkdir /tmp/share; mount -t virtiofs kataShared /tmp/share || exit 9; cd /tmp/share
            touch beside; ln -s /etc link; mkdir t-share/beside; rmdir t-share/rootfs; mknod node c 1 3
            volume=$(echo t-share-*-fixed); cat $volume/file; touch $volume/new; echo no > $volume/file; rm $volume/file
            echo yes > t-share/rootfs/tmp/written; cat /tmp/written; data=$(echo t-share-*-data); echo yes >> $data/file
            """)
        let outcome = try lab.sh(
            """
            mkdir data; echo text > data/file
            jq '.process.capabilities |= map_values(["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]) | .mounts += [
                {destination: "/data", type: "bind", source: "\(lab.directory)/data", options: ["rbind", "rw"]},
                {destination: "/fixed", type: "bind", source: "\(lab.directory)/data", options: ["rbind", "ro"]}]' \\
                bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-share 2> errors; echo $?; cat data/file; ls data; grep -c 'Read-only' errors; cat errors >&2
            """)
        #expect(outcome.output == "text\nyes\n0\ntext\nyes\nfile\n8\n", "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-share") == "")
    }

    @Test("a setuid program in a container is still one")
    func setuid() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("/bin/who-am-i")
        let outcome = try lab.sh(
            """
            echo 'int geteuid(void); int main(void) { return geteuid() == 0 ? 7 : 8; }' | gcc -static -x c - -o rootfs/bin/who-am-i
            chmod 4755 rootfs/bin/who-am-i
            jq '.process.user = {uid: 1000, gid: 1000} | .process.noNewPrivileges = false' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-setuid; echo $?
            """)
        #expect(outcome.output == "7\n", "\(outcome.error)")
    }
}
